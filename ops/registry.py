"""What is in production, why, and how to go back: python -m ops.registry COMMAND

    promote [--version X.Y.Z] [--stage STAGE] [--force --reason TEXT]
    rollback [--to X.Y.Z] [--stage STAGE] --reason TEXT
    history [--stage STAGE] [--json]

A version and what holds a stage are Git tags in GTO's format; their messages hold the evidence.

`promote` takes HEAD, or the version that --version names if there is one. The gate judges it
against what holds the stage now, by the rules of that commit. A commit that is no version yet
becomes one: --version, else one minor step from the greatest. `rollback` goes back to what the
present holder took the place of, or to a version that held the stage before; the gate has no say.

Both tags come to be at once: they are made as objects that nothing points to, then published by one
atomic push. Killed at any moment, either all is done or nothing; the same command again does what
is missing. Without a Git remote they are tags of this repository alone.

Exit code 0: done, or so already. 1: the gate blocks. 2: refused, or nothing can be said.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from digits import commands, errors
from digits.errors import InputError
from digits.params import parse_yaml
from digits.runs import Run
from digits.store import STAGES
from ops import evidence, gate, git, pipeline, publishing, storage, tags
from ops.evaluators import MODEL
from ops.evidence import Base, read_here
from ops.gate import Decision
from ops.tags import ARTIFACT, Tag

ALL_THE_SAME = "All the same: --force --reason TEXT"


def main() -> None:
    args = parse_args()
    sys.exit(args.command(args))


def promote(args: argparse.Namespace) -> int:
    if args.force and not args.reason:
        raise InputError("--force wants a reason: --reason TEXT")
    server, known = start()
    commit, version = candidate(args.version, known, server)
    now = tags.holder(known, args.stage)
    registered = version in tags.versions(known)
    if registered and now and now.commit == commit:
        print(f"{args.stage} is {version} already: {now.name}")
        return 0
    check_lock(commit)
    runs = evidence.runs_in_commit(commit, version)
    check_model(commit, runs[0].scores.model, server)
    decision, unknown = judge(args, commit, runs, now, known)
    verdict = f"OVERRIDDEN: not compared, since {unknown}" if unknown else decision.headline
    print(gate.text(decision), end="\n\n")
    if not decision.passes:
        print(f"not promoted. {ALL_THE_SAME}", file=sys.stderr)
        return 1
    forced = verdict.startswith("OVERRIDDEN")
    said = {
        "Stage": args.stage,
        "Action": "promote",
        "Version": version,
        "From": name_of(known, now.commit) if now else "",
        "Verdict": verdict,
        **figures(runs[0]),
        "Forced-by": publishing.identity().partition(" <")[0] if forced else "",
        "Reason": args.reason or "",
    }
    stage_tag = f"{ARTIFACT}#{args.stage}#{tags.next_number(known)}"
    names = [] if registered else [f"{ARTIFACT}@{version}"]
    publishing.publish(server, commit, [*names, stage_tag], said, known)
    print(f"{args.stage} is {version} now: {stage_tag}")
    return 0


def rollback(args: argparse.Namespace) -> int:
    server, known = start()
    now = tags.holder(known, args.stage)
    if now is None:
        raise InputError(f"nothing was ever promoted to {args.stage}, so there is no way back")
    to = read_version(args.to) if args.to else None
    here = name_of(known, now.commit)
    again = now.said.get("Action") == "rollback" and now.said.get("Reason") == args.reason
    if here == to or (again and to is None):
        print(f"{args.stage} is {here} already: {now.name}")
        if to is None:
            print("That was for the same reason. Further back: --to X.Y.Z", file=sys.stderr)
        return 0
    commit = way_back(known, args.stage, to)
    version = name_of(known, commit)
    try:
        run = evidence.runs_in_commit(commit, version)[0]
        check_model(commit, run.scores.model, server)
        known_figures = figures(run)
    except InputError as error:
        if not args.force:
            raise InputError(f"{error}\n  Go back all the same: --force") from None
        print(f"warning: {error}", file=sys.stderr)
        known_figures = {}
    said = {
        "Stage": args.stage,
        "Action": "rollback",
        "Version": version,
        "From": here,
        **known_figures,
        "Reason": args.reason,
    }
    stage_tag = f"{ARTIFACT}#{args.stage}#{tags.next_number(known)}"
    publishing.publish(server, commit, [stage_tag], said, known)
    print(f"{args.stage} is {version} again, after {here}: {stage_tag}")
    return 0


def history(args: argparse.Namespace) -> int:
    known = tags.read()
    stages = [args.stage] if args.stage else sorted({tag.stage for tag in known if tag.stage})
    rows = [row for stage in stages for row in events(known, stage)]
    rows.sort(key=lambda row: (row["when"], row["tag"]), reverse=True)
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for stage in stages:
        now = tags.holder(known, stage)
        print(f"{stage} is {name_of(known, now.commit)}" if now else f"nothing holds {stage}")
    print(table(rows) if rows else "nothing was ever promoted: python -m ops.registry promote")
    return 0


# What is asked before anything is done


def start() -> tuple[str | None, list[Tag]]:
    """The Git remote, if there is one, and all tags: its and ours are the same."""
    publishing.identity()
    git.require_history()
    server = publishing.find_server()
    if server:
        publishing.fetch(server)
    else:
        print("no Git remote: the tags stay in this repository", file=sys.stderr)
    return server, tags.read()


def candidate(wanted: str | None, known: Sequence[Tag], server: str | None) -> tuple[str, str]:
    """The commit to promote, and the version that it is or becomes."""
    registered = tags.versions(known)
    version = read_version(wanted) if wanted else None
    if version in registered:
        return registered[version], version
    if changed := git.run("status", "--porcelain", "--untracked-files=no"):
        raise InputError(
            f"the working tree differs from HEAD, and a commit is what is promoted:\n{changed}\n"
            f"  Commit and push it, or put it aside: git stash"
        )
    commit = git.commit("HEAD")
    if server and not git.run("for-each-ref", "--contains", commit, f"refs/remotes/{server}"):
        raise InputError(
            f"the commit {commit[:9]} is on no branch of {server}: git push {server} HEAD"
        )
    is_already = tags.version_of(known, commit)
    if is_already and version:
        raise InputError(
            f"the commit {commit[:9]} is {is_already}, and a commit is one version: leave out "
            f"--version {wanted}"
        )
    if version and any(tag.version == version for tag in known):
        raise InputError(f"{version} was taken back (gto deregister). Another: --version X.Y.Z")
    return commit, is_already or version or tags.next_version(known)


def read_version(text: str) -> str:
    if not re.fullmatch(f"v?{tags.VERSION}", text):
        raise InputError(f"the version is {text!r}; expected three numbers, as in 1.2.0")
    return f"v{text.removeprefix('v')}"


def name_of(known: Sequence[Tag], commit: str) -> str:
    return tags.version_of(known, commit) or commit[:9]


def way_back(known: Sequence[Tag], stage: str, to: str | None) -> str:
    """The commit that held the stage before, or held it once as the version that is named."""
    if to is None:
        line = tags.line_of_descent(known, stage)
        if len(line) < 2:
            raise InputError(
                f"{name_of(known, line[-1])} is the first in {stage}: there is nothing before it"
            )
        return line[-2]
    once = {name_of(known, tag.commit): tag.commit for tag in tags.assignments(known, stage)}
    if to not in once:
        raise InputError(
            f"{to} never held {stage}; these did: {', '.join(once)}. To have it judged: "
            f"python -m ops.registry promote --stage {stage} --version {to.removeprefix('v')}"
        )
    return once[to]


def check_lock(commit: str) -> None:
    """Raises `InputError` unless a commit's dvc.lock is of its code, and its metrics of that."""
    read = partial(git.read, commit)
    evidence.check_lock(read)
    pipe, lock, params = (
        parse_yaml(read(path) or b"stages: {}", path)
        for path in ("dvc.yaml", "dvc.lock", "params.yaml")
    )
    for stage in pipeline.stages(pipe, lock, params, {}, read):
        if stage.state != "up to date":
            raise InputError(
                f"dvc.lock is not of this code: the stage {stage.name} is {stage.state} "
                f"({', '.join(stage.since)}). dvc repro, then commit dvc.lock and metrics/"
            )


def check_model(commit: str, model: str, server: str | None) -> None:
    """Raises `InputError` unless all can have the commit's model, every byte as it was evaluated.

    That is, from the DVC remote. Where there is neither that nor a Git remote, nobody else asks.
    """
    outputs = storage.outputs(partial(git.read, commit))
    output = next((output for output in outputs if output.path == MODEL), None)
    if output is None:
        raise InputError(f"dvc.lock of {commit[:9]} has no {MODEL}. Run: dvc repro")
    with storage.stores() as (cache, remote):
        if remote is None and server:
            raise InputError(
                f"there is no DVC remote, so nobody else can have the model: {storage.NO_REMOTE}"
            )
        if remote is None:
            print("no DVC remote: the model stays in this repository's cache", file=sys.stderr)
        try:
            files = storage.files_of(remote or cache, output)
        except InputError as error:
            raise InputError(f"{error}\n  {way_to_store(remote is None, commit)}") from None
    found = hashlib.sha256(files.get("model.json", b"")).hexdigest()
    if found != model:
        raise InputError(f"{MODEL} is {found[:9]}, but metrics/ are of {model[:9]}. Run: dvc repro")


def way_to_store(local: bool, commit: str) -> str:
    if local:
        return "Make it: dvc repro. Broken? python -m ops.doctor --repair"
    return f"Bring it there: dvc push --rev {commit[:9]}. Broken? python -m ops.doctor --repair"


# The verdict


def judge(
    args: argparse.Namespace,
    commit: str,
    runs: list[Run],
    now: Tag | None,
    known: Sequence[Tag],
) -> tuple[Decision, str | None]:
    """The gate's decision, and why it could not compare: only --force goes on from there."""
    override = args.reason if args.force else None
    if now is None:
        rules, origin = evidence.rules_in_commit(commit, commit[:9])
        return gate.judge(runs, [], rules, origin, code=None, override=override), None
    name = f"{args.stage} ({name_of(known, now.commit)})"
    here = commit == git.commit("HEAD") and not git.run("status", "--porcelain", "-uno")
    rules, origin = evidence.rules_in_commit(now.commit, name)
    judged = partial(
        gate.judge,
        runs,
        rules=rules,
        rules_from=origin,
        looks=evidence.count_looks(runs[0].scores.test_set, commit),
        override=override,
    )
    try:
        base = Base(name, now.commit, evidence.runs_in_commit(now.commit, name))
        code = read_here if here else partial(git.read, commit)
        return judged([base], code=code, cross=args.base_model), None
    except InputError as error:
        if not args.force:
            raise InputError(f"{error}\n  {ALL_THE_SAME}") from None
        return judged([], code=None), str(error).partition("\n")[0]


def figures(run: Run) -> Mapping[str, str]:
    """What a tag says of a model."""
    s = run.scores
    return {
        "Model": s.model,
        "Test-set": s.test_set,
        "Source": s.source,
        "Errors": f"{s.errors} of {s.images}",
        "Accuracy": f"{s.accuracy:g}",
        "Nll": f"{s.nll:g}",
        "Ece": f"{s.ece:g}",
        "Robustness": f"{s.robustness['mean']:g}",
    }


# What has been


def events(known: Sequence[Tag], stage: str) -> list[dict[str, Any]]:
    """What happened to a stage, the earliest first."""
    found, before = [], None
    for tag in tags.assignments(known, stage):
        verdict = tag.said.get("Verdict", "")
        found.append(
            {
                "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(tag.time)),
                "stage": stage,
                "what": tag.said.get("Action", "assign"),
                "from": before,
                "to": name_of(known, tag.commit),
                "verdict": verdict,
                "by": tag.person,
                "why": tag.said.get("Reason", ""),
                "model": tag.said.get("Model"),
                "test_set": tag.said.get("Test-set"),
                "commit": tag.commit,
                "tag": tag.name,
            }
        )
        before = name_of(known, tag.commit)
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ("when", "stage", "what", "from", "to", "verdict", "by", "why")
    cells = [columns] + [
        (
            row["when"][:16].replace("T", " "),
            row["stage"],
            row["what"],
            row["from"] or "-",
            row["to"],
            row["verdict"].partition(" ")[0].rstrip(":") or "-",
            row["by"],
            row["why"] or row["verdict"].partition(": ")[2],
        )
        for row in rows
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def parse_args() -> argparse.Namespace:
    parser = commands.parser("ops.registry", __doc__)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")

    forward = subcommands.add_parser("promote", help="judge a model, and let it take a stage")
    forward.set_defaults(command=promote)
    forward.add_argument("--version", metavar="X.Y.Z", help="one that exists, or a name for HEAD")
    forward.add_argument("--stage", choices=STAGES, default=STAGES[0])
    forward.add_argument("--force", action="store_true", help="whatever the gate says; wants:")
    forward.add_argument("--reason", metavar="TEXT", type=str.strip, help="goes into the tag")
    forward.add_argument(
        "--base-model",
        action="store_true",
        help="if the evaluator or the test set has changed, score both models with both",
    )

    back = subcommands.add_parser("rollback", help="go back to what held a stage before")
    back.set_defaults(command=rollback)
    back.add_argument("--to", metavar="X.Y.Z", help="a version that held it once")
    back.add_argument("--stage", choices=STAGES, default=STAGES[0])
    back.add_argument("--force", action="store_true", help="even if the model can't be checked")
    back.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="why")

    past = subcommands.add_parser("history", help="what held a stage, and why; of the tags fetched")
    past.set_defaults(command=history)
    past.add_argument("--stage", choices=STAGES)
    past.add_argument("--json", action="store_true", help="with model, test set, commit and tag")
    return parser.parse_args()


def reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    return " ".join(text.split())


if __name__ == "__main__":
    errors.run(main, failure=2)
