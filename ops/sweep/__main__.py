"""Run the pipeline with many settings, each with several seeds: digits sweep SWEEP.yaml

    seeds: 3                                   # how many, or which: [0, 1, 2]
    always: {preset: short, train.epochs: 2}   # in every run, also in the default's
    grid:                                      # every combination of these
      train.optimizer.lr: [0.2, 0.4, 0.8]
    settings:                                  # and each of these; keys are dotted or nested
      - preset: classic
      - train: {ema: 0.99, label_smoothing: 0.0}

Each run becomes a DVC experiment of the commit that is checked out; the working tree does not
change. The same command again runs only what is missing, and a training that was killed continues
after its last whole epoch. The sweep ends with a table on standard output, and a picture,
sweeps/NAME.png. Each setting is compared with the default (the committed parameters and `always`)
by the gate's test, image by image. "noise" means: equal models differ as much by chance.

With --engine ray, the runs are tasks on a Ray cluster (make .venv/scale); their bytes are the same.
Each asks for the cores that `compute` states, by default for its share of the cluster, and for a
GPU if its train.device does. A run whose node is lost starts again on another, once.

Exit code 0: every run is complete. 1: a run failed. 2: nothing can run; the message says why.
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
from digits.gate.judge import ALPHA
from digits.gate.results import Run
from ops.sweep import on_local, on_ray, settings, trials
from ops.sweep.outcomes import Outcome, compare
from ops.sweep.settings import Setting, Sweep
from ops.sweep.trials import Engine, Trial
from ops.tools import git, revisions
from ops.tools.revisions import PARAMS
from ops.tools.tables import aligned

PICTURES = Path("sweeps")


def main() -> None:
    args = parse_args()
    sweep = settings.load(args.sweep, params.read_yaml(PARAMS))
    planned = plan(sweep)
    check_repository(args.sweep)
    commit = git.commit("HEAD")  # HEAD may move while the sweep runs
    with trials.only_sweep():
        on_local.collect_finished(itertools.chain(*planned.values()), commit)
        missing = find_missing(planned, commit)
        if missing:
            check_values(args.sweep, sweep)
        total = sum(map(len, planned.values()))
        say(
            f"{sweep.name}: {len(sweep.settings)} settings with {len(sweep.seeds)} seeds: {total} "
            f"runs, {total - len(missing)} of them already complete"
        )
        failed = run(missing, commit, args) if missing else []
    outcomes = compare(read_runs(planned, commit))
    picture = draw(sweep, outcomes)
    if args.json:
        print(files.canonical_json(as_json(planned, outcomes, failed, picture)), end="")
    else:
        print(table(outcomes, picture))
    for trial in failed:
        say(f"failed: {trial.name}; its log: {trial.log}")
    sys.exit(1 if failed else 0)


def run(missing: Sequence[Trial], commit: str, args: argparse.Namespace) -> list[Trial]:
    """Run the trials by the engine that the arguments name; returns those that failed."""
    jobs = args.jobs or (1 if args.engine == "local" else len(missing))
    engine: Engine = (
        on_local.Local(commit, jobs)
        if args.engine == "local"
        else on_ray.OnRay(commit, missing, jobs, args.address)
    )
    return trials.run_all(missing, engine, jobs)


def plan(sweep: Sweep) -> dict[Setting, list[Trial]]:
    """An experiment for each seed of each setting; the same sweep always gives the same names."""
    planned = {
        setting: [
            Trial(
                f"{sweep.name}-{setting.name}-seed{seed}", {**setting.changes, settings.SEED: seed}
            )
            for seed in sweep.seeds
        ]
        for setting in sweep.settings
    }
    names = [trials[0].name for trials in planned.values()]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"two settings would both be named {duplicates[0]}: write one of them differently"
        )
    return planned


def check_repository(sweep_file: Path) -> None:
    """Raises `InputError` if tracked files have uncommitted changes, or Git has no user name."""
    names = git.names("diff", "--relative", "--name-only", "-z", "HEAD")
    changed = [name for name in names if Path(name).resolve() != sweep_file.resolve()]
    if changed:
        raise InputError(
            f"a sweep runs the commit, but these files have changes that are not committed: "
            f"{', '.join(changed)}. Commit them, or put them away: git stash"
        )
    for key in trials.IDENTITY:
        if git.setting(key) is None:
            raise InputError(f"DVC stores each run as a commit, so Git needs: git config {key} ...")


def check_values(sweep_file: Path, sweep: Sweep) -> None:
    """Raises `InputError` if a setting's model or training parameters are not valid."""
    from digits.model.network import Architecture  # imports torch
    from digits.training.recipe import Recipe

    for setting in sweep.settings:
        origin = f"{sweep_file}, {setting.label}"
        Architecture.parse(setting.params["model"], f"{origin}: model")
        Recipe.parse(setting.params["train"], f"{origin}: train")


def find_missing(planned: Mapping[Setting, Sequence[Trial]], commit: str) -> list[Trial]:
    """The trials that are not yet experiments of the commit.

    The first seed of every setting comes first, so that a sweep that is stopped early can still
    compare all settings. Raises `InputError` if an experiment of that name has other parameters.
    """
    experiments = git.experiments(commit)
    missing = []
    with git.Objects() as objects:
        for same_seed in zip(*planned.values(), strict=True):
            for setting, trial in zip(planned, same_seed, strict=True):
                if trial.name not in experiments:
                    missing.append(trial)
                    continue
                content = objects.read(f"{experiments[trial.name]}:./{PARAMS}") or b""
                expected = params.override(setting.params, trial.changes)
                if params.parse_yaml(content, f"{trial.name}:{PARAMS}") != expected:
                    raise InputError(
                        f"the experiment {trial.name} exists with other parameters. Remove it (dvc "
                        f"exp remove {trial.name}), or rename the sweep's file"
                    )
    return missing


def read_runs(
    planned: Mapping[Setting, Sequence[Trial]], commit: str
) -> list[tuple[Setting, list[Run]]]:
    """Each setting with the metrics of its experiments."""
    experiments = git.experiments(commit)
    runs = []
    with git.Objects() as objects:
        for setting, same in planned.items():
            made = {t.name: experiments[t.name] for t in same if t.name in experiments}
            found = [revisions.run_in_commit(objects, made[name], name) for name in made]
            runs.append((setting, found))
    return runs


def draw(sweep: Sweep, outcomes: Sequence[Outcome]) -> Path | None:
    from ops.sweep import picture  # imports matplotlib

    if not outcomes:
        return None
    path = PICTURES / f"{sweep.name}.png"
    files.write(path, picture.draw(sweep.name, outcomes))
    return path


def table(outcomes: Sequence[Outcome], picture: Path | None) -> str:
    """A row for each setting that has a run."""
    header = ("setting", "n", "accuracy", "errors", "change", "p", "", "weights")
    lines = [
        aligned([header, *map(row, outcomes)], right=(1, 2, 3, 4, 5, 7)),
        "",
        "Accuracy: the mean over n seeds, and its 95 % interval. Noise: equal models differ as "
        "much by chance.",
    ]
    others = len(outcomes) - 1
    if others > 1:
        lines.append(
            f"Each setting is tested at p <= {ALPHA}: if all {others} are equal to the default, "
            f"{ALPHA * others:.2g} of them are expected to be marked by chance."
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
    outcomes: Sequence[Outcome],
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
            for outcome in outcomes
        ],
        "failed": [{"experiment": trial.name, "log": str(trial.log)} for trial in failed],
        "picture": picture and str(picture),
    }


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.sweep", __doc__)
    parser.add_argument("sweep", metavar="SWEEP.yaml", type=command_line.path, help="what to run")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=positive,
        help="how many runs at a time; they share the cores (default: 1; on Ray, what fits)",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where the runs are: on this machine or a Ray cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of the Ray cluster (default: RAY_ADDRESS, or a cluster that is started here)",
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    args = parser.parse_args()
    if args.address and args.engine != "ray":
        parser.error("--address is of a Ray cluster; add --engine ray")
    return args


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


if __name__ == "__main__":
    errors.run(main, failure=2)
