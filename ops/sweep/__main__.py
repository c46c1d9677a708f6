"""Run the pipeline with many settings, each with several seeds: digits sweep SWEEP.yaml

    seeds: 3                                   # how many, or which: [0, 1, 2]
    always: {preset: short, train.epochs: 2}   # in every run, the default's too
    grid:                                      # every combination
      train.optimizer.lr: [0.2, 0.4, 0.8]
    settings:                                  # and these; keys are dotted or nested
      - preset: classic
      - train: {ema: 0.99, label_smoothing: 0.0}

Each run is a DVC experiment of the commit that is checked out; the working tree stays as it is.
Run again, it does what is missing, and a training that was killed goes on after its last whole
epoch. A table comes last, on standard output, and a picture: sweeps/NAME.png. Each setting is
compared with the default (the parameters as they are, and `always`) as the gate compares, image by
image: "noise" is no more than chance makes of equal models.

Exit code 0: all runs are there. 1: one failed. 2: nothing can be run; the message says why.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digits.core import command_line, errors, files, params
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.gate import diff
from digits.gate.judge import LUCK
from digits.gate.results import Run
from ops.sweep import runner, settings
from ops.sweep.outcomes import Outcome, outcomes
from ops.sweep.runner import Trial
from ops.sweep.settings import Setting, Sweep
from ops.tools import git, revisions
from ops.tools.revisions import PARAMS
from ops.tools.tables import aligned

PICTURES = Path("sweeps")


def main() -> None:
    args = parse_args()
    sweep = settings.load(args.sweep, params.read_yaml(PARAMS))
    planned = plan(sweep)
    check_repository(args.sweep)
    commit = git.commit("HEAD")  # by the end, HEAD may be another one
    with runner.alone():
        runner.recover(itertools.chain(*planned.values()), commit)
        missing = find_missing(planned, commit)
        if missing:
            check_values(args.sweep, sweep)
        total = sum(map(len, planned.values()))
        say(
            f"{sweep.name}: {len(sweep.settings)} settings with {len(sweep.seeds)} seeds: {total} "
            f"runs, {total - len(missing)} of them there already"
        )
        failed = runner.run_all(missing, commit, args.jobs)
    found = outcomes(read(planned, commit))
    picture = draw(sweep, found)
    if args.json:
        print(files.canonical_json(as_json(planned, found, failed, picture)), end="")
    else:
        print(table(found, picture))
    for trial in failed:
        say(f"failed: {trial.name}; its log: {trial.log}")
    sys.exit(1 if failed else 0)


def plan(sweep: Sweep) -> dict[Setting, list[Trial]]:
    """An experiment for each seed of each setting, by a name that is always the same."""
    planned = {
        setting: [
            Trial(
                f"{sweep.name}-{setting.name}-seed{seed}", {**setting.changes, settings.SEED: seed}
            )
            for seed in sweep.seeds
        ]
        for setting in sweep.settings
    }
    names = [found[0].name for found in planned.values()]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two settings would be called {twice[0]}: write one of them otherwise")
    return planned


def check_repository(file: Path) -> None:
    """Raises `InputError` unless what is here is what is committed, and Git knows by whom."""
    names = git.run("diff", "--name-only", "-z", "HEAD").split("\0")
    changed = [name for name in names if name and Path(name).resolve() != file.resolve()]
    if changed:
        raise InputError(
            f"a sweep runs what is committed, and changed are: {', '.join(changed)}. Commit them, "
            "or put them away: git stash"
        )
    for key in runner.IDENTITY:
        if git.setting(key) is None:
            raise InputError(f"DVC stores each run as a commit, so Git wants: git config {key} ...")


def check_values(file: Path, sweep: Sweep) -> None:
    """Raises `InputError` where a setting's model or recipe is not valid."""
    from digits.model.network import Architecture  # imports torch
    from digits.training.recipe import Recipe

    for setting in sweep.settings:
        where = f"{file}, {setting.label}"
        Architecture.parse(setting.params["model"], f"{where}: model")
        Recipe.parse(setting.params["train"], f"{where}: train")


def find_missing(planned: Mapping[Setting, Sequence[Trial]], commit: str) -> list[Trial]:
    """What a commit has not yet, seed by seed, so that an early end has some of every setting.

    Raises
    ------
    InputError
        If an experiment of that name has other parameters.
    """
    there = git.experiments(commit)
    missing = []
    for same_seed in zip(*planned.values(), strict=True):
        for setting, trial in zip(planned, same_seed, strict=True):
            if trial.name not in there:
                missing.append(trial)
                continue
            content = git.read(there[trial.name], PARAMS) or b""
            wanted = params.override(setting.params, trial.changes)
            if params.parse_yaml(content, f"{trial.name}:{PARAMS}") != wanted:
                raise InputError(
                    f"the experiment {trial.name} is there with other parameters. Remove it (dvc "
                    f"exp remove {trial.name}), or rename the sweep's file"
                )
    return missing


def read(
    planned: Mapping[Setting, Sequence[Trial]], commit: str
) -> list[tuple[Setting, list[Run]]]:
    """Each setting's runs, as their experiments tell them."""
    there = git.experiments(commit)
    return [
        (
            setting,
            [
                revisions.runs_in_commit(there[trial.name], trial.name)[0]
                for trial in made
                if trial.name in there
            ],
        )
        for setting, made in planned.items()
    ]


def draw(sweep: Sweep, found: Sequence[Outcome]) -> Path | None:
    from ops.sweep import picture  # imports matplotlib

    if not found:
        return None
    path = PICTURES / f"{sweep.name}.png"
    files.write(path, picture.draw(sweep.name, found))
    return path


def table(found: Sequence[Outcome], picture: Path | None) -> str:
    """A row for each setting that has a run."""
    header = ("setting", "n", "accuracy", "errors", "change", "p", "", "weights")
    lines = [
        aligned([header, *map(row, found)], right=(1, 2, 3, 4, 5, 7)),
        "",
        "Accuracy: mean, and its 95 % interval over n seeds. Noise: no more than chance makes of "
        "equal models.",
    ]
    others = len(found) - 1
    if others > 1:
        lines.append(
            f"Each is tested at p <= {LUCK}: of {others} equal ones, "
            f"{LUCK * others:.2g} stand out by luck."
        )
    if picture:
        lines += ["", f"The picture  {picture}"]
    return "\n".join(lines)


def row(outcome: Outcome) -> tuple[str, ...]:
    figures, difference = outcome.figures, outcome.difference
    interval = "" if outcome.margin is None else f" ± {100 * outcome.margin:.2f}"
    return (
        outcome.setting.label,
        str(len(outcome.runs)),
        f"{100 * outcome.mean:.2f} %{interval}",
        diff.shown(figures["errors"], figures["errors"].after),
        diff.shown_change(figures["accuracy"]),
        "" if difference is None else f"{difference.p:.2g}",
        outcome.mark,
        diff.shown(figures["weights"], figures["weights"].after),
    )


def as_json(
    planned: Mapping[Setting, Sequence[Trial]],
    found: Sequence[Outcome],
    failed: Sequence[Trial],
    picture: Path | None,
) -> dict[str, Any]:
    return {
        "settings": [
            {
                "label": outcome.setting.label,
                "changes": outcome.setting.changes,
                "experiments": [trial.name for trial in planned[outcome.setting]],
                "errors": [run.scores.errors for run in outcome.runs],
                "accuracy": outcome.mean,
                "margin": outcome.margin,
                "difference": outcome.difference and asdict(outcome.difference),
                "mark": outcome.mark,
            }
            for outcome in found
        ],
        "failed": [{"experiment": trial.name, "log": str(trial.log)} for trial in failed],
        "picture": picture and str(picture),
    }


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.sweep", __doc__)
    parser.add_argument("sweep", metavar="SWEEP.yaml", type=command_line.path, help="what to run")
    parser.add_argument(
        "--jobs", metavar="N", type=positive, default=1, help="runs at a time; they share the cores"
    )
    parser.add_argument("--json", action="store_true", help="the table for a machine")
    return parser.parse_args()


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


if __name__ == "__main__":
    errors.run(main, failure=2)
