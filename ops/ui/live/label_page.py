"""The page on which a person labels images that the model was unsure of; live only."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from digits.core.errors import InputError, UserError
from ops.ui.live import labelling
from ops.ui.live.labelling import Output
from ops.ui.pages import render
from ops.ui.pages.render import Resources
from ops.ui.project import Project

MOST_BYTES = 1 << 16  # of a request


def resources(project: Project) -> Resources:
    return {"labels.html": partial(page, project)} if project.can_run else {}


def page(project: Project) -> bytes:
    outputs = [(output, labelling.progress(output)) for output in labelling.find_outputs()]
    return render.html(project, "labels.html", "labels.html.jinja", "Labels", outputs=outputs)


async def answer(request: Request) -> Response:
    """Do what the page asks for, and answer with what it shows next."""
    try:
        given = json.loads(await _body(request))
        do = DO[request.path_params["what"]]
        return JSONResponse(await run_in_threadpool(_state, do, given))
    except (ValueError, KeyError, TypeError, RecursionError):
        return JSONResponse({"error": "this is no request of the page"}, 400)
    except UserError as error:
        return JSONResponse({"error": str(error)}, 400)


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise InputError(f"the request has more than {MOST_BYTES:,} bytes")
    return body


def _state(do: Callable[[Output, dict[str, Any]], object], given: dict[str, Any]) -> dict[str, Any]:
    output = labelling.read_output(str(given["output"]))
    do(output, given)
    return labelling.state(output)


DO: dict[str, Callable[[Output, dict[str, Any]], object]] = {
    "open": lambda output, given: None,
    "give": lambda output, given: labelling.give(output, str(given["path"]), str(given["label"])),
    "undo": lambda output, given: labelling.undo(output),
    "revisit": lambda output, given: labelling.revisit(output),
}
ROUTES = [Route("/labels/{what}", answer, methods=["POST"])]
