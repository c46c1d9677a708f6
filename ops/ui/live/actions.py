"""What the pages can run: a closed set of commands, each made of checked fields.

A link can open a form with some fields filled in:

    run.html?action=reproduce&target=train            dvc repro train
    run.html?action=experiment&preset=short&name=try&train.epochs=3
    run.html?action=sweep&file=sweeps/lr.yaml
    run.html?action=keep&experiment=try&message=...
    run.html?action=correct&file=scans/out.labels.csv
    run.html?action=push&what=commits                 digits push --commits
    run.html?action=promote&version=1.2.0&stage=production&reason=...
    run.html?action=rollback&to=1.1.0&stage=production&reason=...

`force=on` is "although the gate blocks" (promote) or "although the model can't be checked"
(rollback); `here=on` runs an experiment in this folder. Parameters have their dotted names. An
experiment to keep is named by its name or its commit; without one, its name is empty, and the
results are those in this folder. Nothing runs until the form is sent.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from digits.storage.model_store import ENVIRONMENTS
from ops.tools import git, pipeline, presets, tags, uncommitted
from ops.tools.dvc import set_params
from ops.tools.git import Experiment
from ops.tools.tree import WORKING_TREE
from ops.ui.live import labelling, parameters
from ops.ui.live.parameters import Parameter, Values

SWEEPS = Path("sweeps")
EXPERIMENT = re.compile(r"[A-Za-z0-9][\w.-]{0,79}", re.ASCII)
LONGEST_TEXT = 500  # characters
HERE = ("", "the results in this folder")

Given = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """A field of a form, as it is filled in.

    choices : the values to choose from and their names; empty for a text
    options : proposed texts
    note : what may be typed
    error : what is wrong with the value
    base : a parameter's value in params.yaml
    """

    name: str
    label: str
    kind: Literal["text", "choice", "check"]
    value: str
    choices: Sequence[tuple[str, str]] = ()
    options: Sequence[str] = ()
    note: str = ""
    error: str = ""
    base: str | None = None


@dataclass(frozen=True)
class Group:
    """Fields under a title.

    error : what is wrong with several of them together
    only_for : (field, value): these fields are used only if that field has that value
    """

    title: str
    fields: Sequence[Field]
    name: str = ""
    error: str = ""
    only_for: tuple[str, str] | None = None

    @property
    def section(self) -> str:
        return self.title.partition(".")[0]

    @property
    def is_changed(self) -> bool:
        return any(field.value != field.base for field in self.fields)


@dataclass(frozen=True)
class Form:
    """An action as it is filled in.

    words : the command as a person types it
    errors : what is wrong, unless it is with a field or a group
    """

    groups: Sequence[Group]
    words: Sequence[str]
    errors: Sequence[str] = field(default_factory=list)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by the name of a field or a group."""
        found = {group.name: group.error for group in self.groups if group.error}
        return found | {f.name: f.error for group in self.groups for f in group.fields if f.error}

    @property
    def is_complete(self) -> bool:
        return not self.errors and not self.problems

    @property
    def command(self) -> str:
        return shlex.join(self.words)

    @property
    def sections(self) -> dict[str, list[Group]]:
        """The groups that have a title, by section."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            if group.title:
                found.setdefault(group.section, []).append(group)
        return found

    @property
    def given(self) -> dict[str, str]:
        """What fills in the form again, from the same params.yaml."""
        fields = (f for group in self.groups for f in group.fields)
        return {f.name: f.value for f in fields if f.value != (f.base or "")}


@dataclass(frozen=True)
class Action:
    """A kind of command, and the form in which its values are filled in.

    result : the page that shows the results
    endings : the meaning of exit codes
    following : by exit code, what to do next: in words, and the fields of its form
    """

    title: str
    purpose: str
    fill_in: Callable[[Given], Form]
    result: str
    endings: Mapping[int, str] = field(default_factory=dict)
    following: Mapping[int, tuple[str, Given]] = field(default_factory=dict)


def reproduce(given: Given) -> Form:
    stages = [stage.name for stage in pipeline.read(WORKING_TREE)]
    target = _choice(
        given,
        "target",
        "Up to",
        [("", "the end: all stages"), *((name, name) for name in stages)],
    )
    words = ["dvc", "repro", *([target.value] if target.value else [])]
    return Form([Group("", [target])], words)


def experiment(given: Given) -> Form:
    name = _text(given, "name", "Name", "letters, digits and . _ -; empty: DVC makes one up")
    if name.value and not EXPERIMENT.fullmatch(name.value):
        name = replace(name, error="expected letters, digits and . _ -, at most 80")
    elif name.value in git.experiments():
        name = replace(name, error="an experiment of this commit has this name already")
    here = _check(
        given,
        "here",
        "Run it in this folder",
        "Its parameters and results replace those here, and it continues after a stop. If not, the "
        "files here stay as they are, and after a stop it starts again.",
    )
    start = presets.load(given["preset"]) if given.get("preset") else {}
    values = parameters.fill_in(given, start)
    groups = _parameter_groups(values)
    known = {group.name for group in groups} | values.texts.keys()
    words = [
        *("dvc", "exp", "run"),
        *([] if here.value else ["--temp"]),
        *([f"--name={name.value}"] if name.value else []),
        *set_params(values.changes),
    ]
    others = [f"{key} {text}" for key, text in values.problems.items() if key not in known]
    return Form([Group("", [name, here]), *groups], words, others)


def sweep(given: Given) -> Form:
    paths = sorted(map(str, SWEEPS.glob("*.yaml")))
    file = _choice(given, "file", "Sweep", [(path, path) for path in paths])
    errors = [] if paths else [f"{SWEEPS}/ has no sweep; docs/how-to/experiments.md shows one"]
    return Form([Group("", [file])], ["digits", "sweep", file.value], errors)


def keep(given: Given) -> Form:
    """By default, keep the results in this folder, if they are not committed, or the last run."""
    values: dict[str, Experiment] = {}  # by what the command calls it
    for made in git.nearest_experiments():
        is_clear = made.name not in values and not made.name.startswith("-")
        values[made.name if is_clear else made.commit[:12]] = made
    head = git.commit("HEAD")
    choices = [
        (value, made.name if made.base == head else f"{made.name}, from {made.base[:9]}")
        for value, made in values.items()
    ]
    last = "" if uncommitted.results() or not values else choices[0][0]
    wanted = given.get("experiment", last)
    of_commit = (value for value, made in values.items() if made.commit.startswith(wanted or "-"))
    named = wanted if wanted in values else next(of_commit, wanted)
    experiment = _choice({"experiment": named}, "experiment", "Results", [HERE, *choices])
    message = _long_text(given, "message", "Message", "of the commit", required=True)
    words = [
        *("digits", "keep"),
        *([experiment.value] if experiment.value else []),
        *([f"--message={message.value}"] if message.value else []),
    ]
    return Form([Group("", [experiment, message])], words)


def push(given: Given) -> Form:
    choices = [("commits", "the commits of this branch"), ("data", "data and models")]
    what = _choice(given, "what", "Send", choices)
    words = ["digits", "push", *(["--commits"] if what.value == "commits" else [])]
    errors = [] if git.server() or what.value == "data" else ["there is no Git server to push to"]
    return Form([Group("", [what])], words, errors)


def promote(given: Given) -> Form:
    known = tags.read()
    names = [name.removeprefix("v") for name in reversed(tags.versions(known))]
    version = _version(
        given,
        "version",
        f"empty: the commit of this folder, as {tags.next_version(known).removeprefix('v')} if it "
        f"has no version yet",
        names,
    )
    stage = _environment(given)
    force = _check(given, "force", "Promote although the gate blocks", "A reason is required.")
    base_model = _check(
        given,
        "base-model",
        "Evaluate both models again",
        "Needed if the evaluator or the test set has changed.",
    )
    reason = _reason(given, required=bool(force.value))
    words = [
        *("digits", "registry", "promote", f"--stage={stage.value}"),
        *([f"--version={version.value.removeprefix('v')}"] if version.value else []),
        *(["--base-model"] if base_model.value else []),
        *(["--force"] if force.value else []),
        *([f"--reason={reason.value}"] if reason.value else []),
    ]
    return Form([Group("", [stage, version, reason, force, base_model])], words)


def roll_back(given: Given) -> Form:
    known = tags.read()
    stage = _environment(given)
    held = [tags.version_of(known, tag.commit) for tag in tags.assignments(known, stage.value)]
    names = list(dict.fromkeys(name.removeprefix("v") for name in reversed(held) if name))
    to = _version(given, "to", "empty: the version before the present one", names)
    if to.value and not to.error and to.value.removeprefix("v") not in names:
        never = f"{to.value} never held {stage.value}; these did: {', '.join(names) or 'none'}"
        to = replace(to, error=never)
    reason = _reason(given, required=True)
    force = _check(given, "force", "Roll back although the model can't be checked", "")
    words = [
        *("digits", "registry", "rollback", f"--stage={stage.value}"),
        *([f"--to={to.value.removeprefix('v')}"] if to.value else []),
        *(["--force"] if force.value else []),
        *([f"--reason={reason.value}"] if reason.value else []),
    ]
    errors = [] if names else [f"nothing was promoted to {stage.value} yet"]
    return Form([Group("", [stage, to, reason, force])], words, errors)


def correct(given: Given) -> Form:
    paths = labelling.find_labels()
    file = _choice(given, "file", "Labels", [(path, path) for path in paths])
    errors = [] if paths else ["there are no labels yet: give some on the page Labels"]
    return Form([Group("", [file])], ["digits", "correct", file.value], errors)


ACTIONS = {
    "reproduce": Action(
        "Reproduce",
        "Run the stages that are not up to date.",
        reproduce,
        "pipeline.html",
        following={0: ("Keep the results …", {"action": "keep", "experiment": ""})},
    ),
    "experiment": Action(
        "Experiment",
        "Run the pipeline with other parameters.",
        experiment,
        "runs.html",
        following={0: ("Keep it …", {"action": "keep"})},
    ),
    "sweep": Action(
        "Sweep",
        "Run many settings of the committed files, each with several seeds, and compare them.",
        sweep,
        "runs.html",
        {1: "a run failed", 2: "nothing could run"},
    ),
    "keep": Action(
        "Keep",
        "Commit the results of the pipeline, or of an experiment, so that they can be promoted.",
        keep,
        "index.html",
        {2: "refused; nothing has changed"},
        {0: ("Promote it; with a Git server, push it first …", {"action": "promote"})},
    ),
    "push": Action(
        "Push",
        "Send the commits to the Git server, or data and models to the DVC remote.",
        push,
        "index.html",
    ),
    "correct": Action(
        "Correct",
        "Add the images that were labelled to the training data.",
        correct,
        "data.html",
        {2: "an error in the labels; nothing has changed"},
    ),
    "promote": Action(
        "Promote",
        "Have the gate judge the model of a commit, and assign it to production or staging.",
        promote,
        "versions.html",
        {1: "the gate blocks", 2: "refused, or there is no verdict"},
        {
            1: ("Promote it although the gate blocks …", {"force": "on"}),
            2: ("If the Git server lacks the commit: push it …", {"action": "push"}),
        },
    ),
    "rollback": Action(
        "Roll back",
        "Return to a version that held production or staging before.",
        roll_back,
        "versions.html",
        {2: "refused"},
    ),
}


def _choice(given: Given, name: str, label: str, choices: Sequence[tuple[str, str]]) -> Field:
    values = [value for value, _ in choices]
    value = given.get(name, values[0] if values else "")
    error = "" if value in values else f"{value!r} is not one of them"
    return Field(name, label, "choice", value, choices, error=error if values else "")


def _text(given: Given, name: str, label: str, note: str, options: Sequence[str] = ()) -> Field:
    return Field(name, label, "text", given.get(name, "").strip(), note=note, options=options)


def _check(given: Given, name: str, label: str, note: str) -> Field:
    return Field(name, label, "check", "on" if given.get(name) == "on" else "", note=note)


def _environment(given: Given) -> Field:
    return _choice(given, "stage", "Environment", [(name, name) for name in ENVIRONMENTS])


def _version(given: Given, name: str, note: str, options: Sequence[str]) -> Field:
    version = _text(given, name, "Version", note, options)
    if version.value and not tags.is_plain(version.value):
        return replace(version, error="expected three numbers, as in 1.2.0")
    return version


def _reason(given: Given, *, required: bool) -> Field:
    return _long_text(given, "reason", "Reason", "written into the tag", required=required)


def _long_text(given: Given, name: str, label: str, note: str, *, required: bool) -> Field:
    field = _text(given, name, label, note)
    text = " ".join(field.value.split())
    if required and not text:
        return replace(field, error="is required")
    if len(text) > LONGEST_TEXT or not text.isprintable():
        return replace(field, error=f"expected text, at most {LONGEST_TEXT} characters")
    return replace(field, value=text)


def _parameter_groups(values: Values) -> list[Group]:
    """A group for each section and each section of a section."""
    sections: dict[str, list[Parameter]] = {}
    for parameter in parameters.parameters():
        sections.setdefault(parameter.section, []).append(parameter)
    return [
        Group(
            section,
            [_parameter_field(parameter, values) for parameter in members],
            section,
            values.problems.get(section, ""),
            _only_for(section, sections),
        )
        for section, members in sections.items()
    ]


def _only_for(section: str, sections: Mapping[str, Sequence[Parameter]]) -> tuple[str, str] | None:
    """train.optimizer.sgd is only used if train.optimizer.name is sgd."""
    parent, _, name = section.rpartition(".")
    choices = [p.choices for p in sections.get(parent, ()) if p.key == f"{parent}.name"]
    return (f"{parent}.name", name) if choices and name in choices[0] else None


def _parameter_field(parameter: Parameter, values: Values) -> Field:
    value = values.texts[parameter.key]
    choices = [(choice, choice) for choice in parameter.choices]
    if choices and value not in parameter.choices:
        choices.append((value, value))  # as params.yaml has it; the error says what is wrong
    return Field(
        parameter.key,
        parameter.key.rpartition(".")[2],
        "choice" if choices else "text",
        value,
        choices,
        note=f"{parameter.meaning}" + (f" ({parameter.allowed})" if not choices else ""),
        error=values.problems.get(parameter.key, ""),
        base=values.base[parameter.key],
    )
