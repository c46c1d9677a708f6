"""What the page of a stage shows: its files, its parameters, its last run, and what it made."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path

from markupsafe import Markup

from digits.core.errors import InputError
from digits.core.params import flat
from digits.data import dataset
from ops.tools import disk, stage_runs
from ops.tools.drawing import charts
from ops.tools.dvc_files import Entry
from ops.tools.pipeline import Stage
from ops.tools.revisions import read_table
from ops.tools.tree import WORKING_TREE
from ops.ui.facts import data_summary, model_card

DIGEST = re.compile("[0-9a-f]{64}")
FEW = 8  # values of a list or a section that are shown
ALTERNATIVES = {
    "overview.png": "Which class was taken for which, recall by class, calibration, and accuracy "
    "under corruptions; the report has the same as tables",
    "errors.png": "The test images that the model gets wrong, those that it is most sure of first; "
    "metrics/errors.csv has them as a table",
}


@dataclass(frozen=True)
class File:
    """An input or an output, as the last run had it.

    origin : of an input: the stage that writes it, or else Git or DVC
    note : how it differs from what the last run had
    """

    path: str
    size: int | None = None
    digest: str | None = None
    origin: str = ""
    note: str = ""


@dataclass(frozen=True)
class Made:
    """Something that a stage made, and one way to show it.

    samples : by class, several images in a row
    charts : by title
    facts : names and values
    picture : its file, with a text in its place
    """

    path: str
    samples: Mapping[str, str] | None = None
    charts: list[tuple[str, Markup]] | None = None
    facts: Mapping[str, object] | None = None
    card: Markup | None = None
    picture: str | None = None
    alternative: str = ""


@dataclass(frozen=True)
class Details:
    """The content of a stage's page."""

    purpose: str
    inputs: list[File]
    outputs: list[File]
    parameters: list[tuple[str, object, object]]  # name, value now, value of the last run
    log: str
    log_note: str
    made: list[Made]


def details(stage: Stage, pictures_folder: str) -> Details:
    """Read what the page shows; what is not on disk, or broken, is left out.

    Parameters
    ----------
    pictures_folder : the folder with the pictures that stages made, as the page reaches it
    """
    return Details(
        _purpose(stage),
        _inputs(stage),
        _outputs(stage),
        _parameters(stage),
        stage_runs.read_log(stage.name) if stage.run else "",
        _log_note(stage),
        [made for path in stage.declared.outputs for made in _made(path, pictures_folder)],
    )


def is_picture(path: str) -> bool:
    return path.endswith(".png") and _is_inside(path)


def _is_inside(path: str) -> bool:
    """Whether a path is inside of the project's folder, by its name and by its links."""
    has_plain_name = not Path(path).is_absolute() and ".." not in Path(path).parts
    return has_plain_name and disk.is_inside(path)


def _purpose(stage: Stage) -> str:
    """The first line of the docstring of the stage's script."""
    module = next((w for w in stage.declared.cmd.split() if w.startswith("stages.")), "")
    try:
        tree = ast.parse(Path(*module.split(".")).with_suffix(".py").read_bytes())
    except (OSError, ValueError, SyntaxError):
        return ""
    line = (ast.get_docstring(tree) or "").partition("\n")[0]
    return line.replace("->", "\N{RIGHTWARDS ARROW}").replace("`", "")


def _inputs(stage: Stage) -> list[File]:
    makers = {path: maker for maker, paths in stage.inputs.items() for path in paths}
    notes = {r.name: r.difference for r in stage.reasons if r.kind == "file"}
    entries = {dep.path: dep for dep in stage.locked.deps} if stage.locked else {}
    paths = {**dict.fromkeys(makers), **dict.fromkeys([*stage.deps, *entries])}
    return [
        _file(path, entries.get(path), makers.get(path) or _keeper(path), notes.get(path, ""))
        for path in paths
    ]


def _keeper(path: str) -> str:
    return "DVC" if Path(f"{path}.dvc").exists() else "Git"


def _outputs(stage: Stage) -> list[File]:
    notes = {r.name: r.difference for r in stage.reasons if r.kind == "output"}
    entries = {out.path: out for out in stage.locked.outs} if stage.locked else {}
    paths = dict.fromkeys([*stage.declared.outputs, *entries])
    return [_file(path, entries.get(path), "", notes.get(path, "")) for path in paths]


def _file(path: str, entry: Entry | None, origin: str, note: str) -> File:
    size, digest = (entry.size, entry.md5) if entry else (None, None)
    return File(path, size, digest, origin, note)


def _parameters(stage: Stage) -> list[tuple[str, object, object]]:
    """Each parameter with its value now and that of the last run; equal if nothing changed."""
    values = flat(stage.params)
    changed = {r.name: r for r in stage.reasons if r.kind == "parameter"}
    names = {**dict.fromkeys(values), **dict.fromkeys(changed)}
    return [
        (name, values.get(name), changed[name].before if name in changed else values.get(name))
        for name in names
    ]


def _log_note(stage: Stage) -> str:
    """Which run the log is of, if it may be another one than that of the outputs."""
    run, locked = stage.run, stage.locked
    if run is None:
        if locked is None:
            return ""
        return (
            "No run of it was recorded in this folder. Its outputs come from Git, from DVC's cache "
            "or its run cache, so it ran elsewhere or earlier, and DVC keeps no log."
        )
    outputs = {out.path: out.md5 for out in locked.outs} if locked else {}
    if stage.state not in ("running", "failed") and run.outputs != outputs:
        return (
            "This is the last run in this folder, but dvc.lock names outputs of another one, which "
            "was elsewhere or earlier: DVC restored them from its run cache, or Git brought them."
        )
    return ""


def _made(path: str, folder: str) -> Iterable[Made]:
    """How to show an output, by the kind of its file or folder."""
    place = Path(path)
    if not _is_inside(path):
        return
    try:
        if _is_file(place / "source.json"):
            yield Made(path, samples=_samples(place, disk.digest(place)))
        elif _is_file(place / "model.json"):
            yield Made(path, facts=_facts(json.loads((place / "model.json").read_bytes())))
        elif not place.is_file():
            return
        elif place.name == "training.csv":
            yield Made(path, charts=charts.training([[], read_table(WORKING_TREE, path)]))
        elif is_picture(path):
            text = ALTERNATIVES.get(place.name, f"A picture: {path}")
            yield Made(path, picture=f"{folder}/{path}", alternative=text)
        elif place.suffix == ".md":
            card = place.read_text(encoding="utf-8")
            shown = [p for p in model_card.pictures(card) if (place.parent / p).is_file()]
            yield Made(path, card=model_card.render(card, f"{folder}/{place.parent}", shown))
        elif place.suffix == ".json":
            yield Made(path, facts=_short_facts(json.loads(place.read_bytes())))
    except (InputError, OSError, ValueError, AttributeError):
        return


def _is_file(path: Path) -> bool:
    return path.is_file() and _is_inside(str(path))


def _facts(document: Mapping[str, object]) -> dict[str, object]:
    """The values of a document by dotted name; of a digest, its beginning."""
    return {
        name: f"{value[:10]}…" if isinstance(value, str) and DIGEST.fullmatch(value) else value
        for name, value in flat(document).items()
    }


def _short_facts(document: Mapping[str, object]) -> dict[str, object]:
    """As `_facts`, without long lists and sections: pictures show these."""
    few = {
        name: value
        for name, value in document.items()
        if not (isinstance(value, list | dict) and len(value) > FEW)
    }
    return {
        name: value
        for name, value in _facts(few).items()
        if not (isinstance(value, list) and len(value) > FEW)
    }


def words_changed(before: str, now: str) -> list[tuple[str, str]]:
    """The words of two commands: those of both, those of one ("del") and of the other ("ins")."""
    one, two = before.split(), now.split()
    parts = []
    for kind, a, b, c, d in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(("", " ".join(one[a:b])))
        else:
            parts += [("del", " ".join(one[a:b])), ("ins", " ".join(two[c:d]))]
    return [part for part in parts if part[1]]


@lru_cache(maxsize=4)
def _samples(folder: Path, _: str | None) -> dict[str, str]:
    """Some training images of each class in a folder; kept for its digest."""
    train, classes = dataset.load(folder, "train"), dataset.load_source(folder).classes
    return data_summary.samples(train, classes)
