"""Run the pipeline with a preset's parameters, or with several seeds: digits experiment [NAME]

    digits experiment                          # lists the presets
    digits experiment tiny                     # runs dvc exp run --name tiny --set-param ...
    digits experiment tiny -S train.ema=0.99   # options of dvc exp run may follow
    digits experiment --seeds 3                # trains the parameters here with three seeds
    digits experiment tiny --seeds 3           # the same with a preset

The working tree then has the results. `dvc exp show` compares experiments; `git checkout . && dvc
checkout` restores the committed results. If the commit has an experiment of this name, a number is
added to the name.

With several seeds, the first is train.seed, and its results are the working tree's. Each further
seed is an experiment of its own, whose metrics are copied to metrics/seed-N/, where the gate reads
them; those of earlier seeds are removed. If the rules (gate.seeds in params.yaml) require certain
seeds, these are trained. --rules REV takes the rules of a revision, such as the branch that a
change goes to; without --seeds it trains as many seeds as the rules require, or as metrics/ has.
"""

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from digits.core import errors, files, params
from digits.core.command_line import say
from digits.core.errors import InputError
from ops.tools import git, pipeline, presets, training_time
from ops.tools.dvc import DVC, made_experiment, set_params
from ops.tools.revisions import (
    FILES,
    LOCK,
    METRICS,
    PARAMS,
    SEED,
    differing_runs,
    run_folders,
    runs_in_tree,
)
from ops.tools.rules import rules_in, rules_in_commit
from ops.tools.tables import about, aligned
from ops.tools.tree import WORKING_TREE, Tree

# Options of `dvc exp run` with which the results are not in the working tree.
NOT_HERE = ("--temp", "--queue", "--run-all", "--dry")


def main() -> None:
    match sys.argv[1:]:
        case [] | ["-h" | "--help"]:
            print(__doc__)
            print(indent(aligned(list(presets.names().items())), "  "))
        case words:
            count, rules_of, words = seed_options(words)
            name = words[0] if words and not words[0].startswith("-") else None
            options = words[1:] if name else words
            if count is not None or rules_of is not None:
                run_seeds(name, options, count, rules_of)
            elif name:
                run_experiment(name, name, options)
            else:
                raise InputError(f"{options[0]} is not a preset. Options follow the preset's name")


def seed_options(words: Sequence[str]) -> tuple[int | None, str | None, list[str]]:
    """The values of --seeds and --rules, and the other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--seeds", "--rules"):
        parser.add_argument(option, nargs="?", const="")
    args, others = parser.parse_known_args(words)
    if any(word.partition("=")[0] == "--seed" for word in others):
        raise InputError(
            "--seed is unknown. For several seeds: --seeds N; for another one: -S train.seed=N"
        )
    if args.seeds is not None and not re.fullmatch("[1-9][0-9]?|100", args.seeds):
        raise InputError(f"--seeds is {args.seeds!r}; expected how many seeds, 1 to 100")
    return None if args.seeds is None else int(args.seeds), args.rules, others


def run_experiment(name: str | None, title: str, options: Sequence[str]) -> None:
    """Run a preset, or the parameters here, as an experiment."""
    settings = presets.set_params_of(name) if name else []
    if name and (kept := uncommitted_params(presets.load(name))):
        say(f"{PARAMS} has uncommitted changes, which the preset {name} leaves: {kept}")
    before = WORKING_TREE.read_all([PARAMS, LOCK])
    code = subprocess.run(
        [*DVC, "exp", "run", *settings, "--name", free_name(title), *options]
    ).returncode
    if code and before != WORKING_TREE.read_all([PARAMS, LOCK]):
        names = [name for name in (PARAMS, LOCK, METRICS) if git.paths("HEAD", name)]
        say(
            f"The working tree has this experiment's parameters, and maybe a part of its results. "
            f"Back to those of the last commit: git checkout {' '.join(names)} && dvc checkout"
        )
    if code:
        sys.exit(code)


def uncommitted_params(overridden: Collection[str]) -> str:
    """The parameters here that differ from the last commit's, but for those `overridden`."""
    committed, here = (pipeline.parameters(tree) for tree in (Tree("HEAD"), WORKING_TREE))
    return ", ".join(
        f"{key} is {params.as_text(value)}"
        for key, (_, value) in params.changes(committed, here).items()
        if key not in overridden
    )


def free_name(name: str) -> str:
    """Return the name, with a number if an experiment has it already."""
    taken = git.experiments()
    numbered = (f"{name}-{i}" for i in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def run_or_exit(words: Sequence[str]) -> None:
    if code := subprocess.run(words).returncode:
        sys.exit(code)


def run_seeds(
    name: str | None, options: Sequence[str], count: int | None, rules_of: str | None
) -> None:
    """Train with each seed, and put the metrics of the further ones where the gate reads them."""
    check_options(options)
    document = document_of(name)
    first: int = document["train"]["seed"]
    folders = [path for path in run_folders(Path(METRICS)) if path != Path(METRICS)]
    seeds = wanted_seeds(first, count, required_seeds(document, rules_of), len(folders))
    if len(seeds) == 1 and count is None:
        say("one seed is enough: no rule requires more, and metrics/ has no further ones")
        return
    duration = describe_duration(document, len(seeds))
    say(f"seeds {', '.join(map(str, seeds))}, one after another. {duration}")
    if name or options:
        run_experiment(name, name or "seeds", options)
    else:
        run_or_exit([*DVC, "repro"])
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)  # DVC may have removed it
    for done, seed in enumerate(seeds[1:], start=1):
        left = ""
        if done == 1:
            started = time.monotonic()  # without the first seed, which may have been complete
        else:
            seconds = (time.monotonic() - started) / (done - 1) * (len(seeds) - done)
            left = f"; {about(seconds)} left"
        say(f"seed {seed}: {done + 1} of {len(seeds)}{left}")
        run_further_seed(name, seed)
    say(f"metrics/ has {len(seeds)} seeds. Next: digits gate --base main")


def check_options(options: Sequence[str]) -> None:
    """Raises `InputError` for options that contradict --seeds."""
    if any(SEED in option for option in options):
        raise InputError(f"{SEED} is set by --seeds; leave it out of the options")
    for option in options:
        # DVC takes a part of a name, too.
        if len(option) > 2 and any(name.startswith(option) for name in NOT_HERE):
            raise InputError(
                f"{option} can't be used with --seeds or --rules: the further seeds have the "
                f"parameters of the working tree, so the first must run there. Leave {option} out"
            )


def document_of(name: str | None) -> dict[str, Any]:
    """The parameters that a run of a preset has, without the changes in the options."""
    changes = presets.load(name) if name else {}
    return params.override(params.read_yaml(PARAMS), changes)


def required_seeds(document: Mapping[str, Any], rules_of: str | None) -> Sequence[int]:
    """The seeds that the rules require: those of a revision, or of the parameters."""
    if rules_of is None:
        return rules_in(document, PARAMS).seeds
    return rules_in_commit(git.commit(rules_of), rules_of)[0].seeds


def wanted_seeds(first: int, count: int | None, required: Sequence[int], further: int) -> list[int]:
    """The seeds to train with, `first` at the head.

    Parameters
    ----------
    first : train.seed
    count : how many; None for as many as metrics/ has
    required : by the rules; if there are any, exactly these are trained
    further : runs in metrics/ besides the first
    """
    if required and first not in required:
        raise InputError(
            f"{SEED} is {first}, but gate.seeds requires {list(required)}. Set {SEED} to one of "
            f"them"
        )
    if required:
        return [first, *(seed for seed in required if seed != first)]
    others = (seed for seed in itertools.count() if seed != first)
    return [first, *itertools.islice(others, (count or 1 + further) - 1)]


def describe_duration(document: Mapping[str, Any], seeds: int) -> str:
    """How long the trainings take, in words."""
    seconds = training_time.estimate_s(document)
    if seconds is None:
        return "How long they take is unknown until the first has ended."
    return (
        f"Training takes {about(seconds)} for each seed on this computer, "
        f"{about(seconds * seeds)} in all; results that are in DVC's cache take no time."
    )


def run_further_seed(name: str | None, seed: int) -> None:
    """Run the parameters of the working tree with another seed, outside of the working tree."""
    title = free_name(f"{name or 'seeds'}-seed{seed}")
    run_or_exit([*DVC, "exp", "run", "--temp", "--name", title, *set_params({SEED: seed})])
    commit = made_experiment(title)
    (run,) = runs_in_tree(Tree(commit), title)[:1]
    if run.seed != seed:
        raise InputError(f"{title}:{METRICS}/train.json: seed is {run.seed}; expected {seed}")
    contents = git.read_all(commit, [LOCK, *(f"{METRICS}/{file}" for file in FILES)])
    out = f"{METRICS}/seed-{seed}"
    with files.new_directory(out) as folder:
        for path, content in contents.items():
            (folder / Path(path).name).write_bytes(content)
    if difference := differing_runs(WORKING_TREE, [out]).get(out):
        shutil.rmtree(out)
        raise InputError(
            f"parameters, code or data changed while the seeds were trained: for seed {seed}, "
            f"{difference}. Run the command again"
        )


if __name__ == "__main__":
    errors.run(main)
