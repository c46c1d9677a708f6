"""What CI runs, on every host of Git: digits ci COMMAND

    merge   [--base REV]        checks out the base with this commit merged into it
    compare [--base REV] [--seeds N] [--override REASON]
                                runs the pipeline without a cache, and judges the results
    comment [FILE]              comments on the changes whose comparison has ended
    retrain                     trains on the newest data and proposes the result
    notify                      reports a failed workflow (GitHub)

GitHub and GitLab are known by the environment of their jobs: they name the base, the labels and the
reviewer. Elsewhere, name the base, as in `digits ci compare --base origin/main`.

`compare` replaces the results in the working tree. It leaves comment.md and report.html in
comparison/. Exit code 0: the change may be merged. 1: blocked. 2: there is no verdict, or a part of
the evidence is missing. The others: 2 if they failed.
"""

import argparse
import os
import sys

from digits.core import command_line, errors
from digits.core.errors import InputError
from ops.ci import comment, compare, github, gitlab, notify, retrain
from ops.ci.host import Change, Host


def main() -> None:
    args = parse_args()
    host = find_host()
    match args.command:
        case "merge":
            if not args.base:
                need(host).fetch_base()
            compare.merge(args.base or need(host).change().base)
        case "compare":
            if args.base:
                change = Change(args.base, args.seeds, args.override)
            elif args.seeds is not None or args.override is not None:
                raise InputError(
                    "--seeds and --override require --base; a host has labels for them"
                )
            else:
                change = need(host).change()
            sys.exit(compare.compare(change))
        case "comment":
            comment.comment(need(host), args.file)
        case "retrain":
            retrain.retrain(host)
        case "notify":
            notify.notify()


def find_host() -> Host | None:
    """The host whose job this is, by the variable that its CI sets."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return github
    if os.environ.get("GITLAB_CI") == "true":
        return gitlab
    return None


def need(host: Host | None) -> Host:
    if host is None:
        raise InputError(
            "this is not a job of GitHub or GitLab, which would name the change. Elsewhere, merge, "
            "compare and retrain work. Name the base: digits ci compare --base origin/main"
        )
    return host


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.ci", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    merge = commands.add_parser("merge", help="merge this commit into its base")
    judge = commands.add_parser("compare", help="run the pipeline and judge the results")
    for each in (merge, judge):
        each.add_argument("--base", metavar="REV", help="the branch that the change goes to")
    judge.add_argument("--seeds", metavar="N", type=int, help="how many seeds to train")
    judge.add_argument("--override", metavar="REASON", help="pass although the gate blocks")

    post = commands.add_parser("comment", help="comment on the changes that were judged")
    post.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=command_line.path,
        help="on GitHub: the report, which may be missing",
    )
    commands.add_parser("retrain", help="train on the newest data and propose the result")
    commands.add_parser("notify", help="report a failed workflow")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
