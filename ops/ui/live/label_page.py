"""The page on which a person labels images that the model was unsure of; live only."""

from collections.abc import Callable, Mapping
from functools import partial

from starlette.responses import JSONResponse, Response

from digits.core.errors import UserError
from ops.ui.live import labelling
from ops.ui.live.labelling import Output, Progress
from ops.ui.pages import render
from ops.ui.pages.render import Resources
from ops.ui.project import Project

Given = Mapping[str, str]  # the fields of a request


def resources(project: Project) -> Resources:
    return {"labels.html": partial(page, project)} if project.can_run else {}


def page(project: Project) -> bytes:
    outputs = [(output, progress_or_fault(output)) for output in labelling.find_outputs()]
    return render.html(project, "labels.html", "labels.html.jinja", "Labels", outputs=outputs)


def progress_or_fault(output: Output) -> Progress | str:
    try:
        return labelling.progress(output)
    except UserError as error:  # the page shows it, and the other outputs
        return str(error)


def answer(what: str, given: Given) -> Response:
    """Do what the page asks for, and answer with what it shows next."""
    try:
        output = labelling.read_output(given["output"])
        DO[what](output, given)
        return JSONResponse(labelling.state(output))
    except KeyError:
        return JSONResponse({"error": "this is no request of the page"}, 400)
    except UserError as error:
        return JSONResponse({"error": str(error)}, 400)


DO: dict[str, Callable[[Output, Given], None]] = {
    "open": lambda output, given: None,
    "give": lambda output, given: labelling.give(output, given["path"], given["label"]),
    "undo": lambda output, given: labelling.undo(output),
    "revisit": lambda output, given: labelling.revisit(output),
}
