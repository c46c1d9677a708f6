"""Comment on changes that `compare` has judged.

The job has the right to write, so it runs none of the change's own code. From there it takes only
text, which it cuts to a size and in which it breaks mentions. The host says which change the text
belongs to, not the text.
"""

from pathlib import Path

from digits.core.errors import ROOMS, ROOT, first
from ops.ci.host import MARKER, FinishedRun, Host
from ops.tools import git, imports

LIMIT = 60_000  # characters of the report in a comment, of which GitHub accepts 65,536
CUT = "\n\n(cut here)"
# A change of these commands, or of what they import, changes how the change itself is judged.
JUDGES = ("ci/__main__", "gate/__main__", "report/__main__", "verify", "evaluators", "launch")
# So does a change of these. The imports of ops/experiment.py, all of the training, do not judge.
FILES = (
    *(".github/", ".gitlab-ci.yml", ".gitlab/", "constraints.txt", "requirements", "Makefile"),
    *("dvc.yaml", "ops/experiment.py"),
)


def comment(host: Host, report: Path | None) -> None:
    """Comment on the runs that the host names.

    If the comment exists, it is marked as outdated and then updated, so that an earlier verdict
    does not outlive a post that fails.
    """
    found = False
    for run in host.finished_runs(report):
        found = True
        previous = host.own_comment(run.number)
        if previous:
            outdated = compose(run, "A newer report is on its way.", [], outcome="is outdated")
            host.write_comment(run.number, previous, outdated)
        body = compose(run, read_report(run), changes_of_judge(host, run.number))
        print(host.write_comment(run.number, previous, body))
    if not found:
        print("no run to comment on: none has ended whose commit is the head of one open change")


def changes_of_judge(host: Host, number: int) -> list[str]:
    """The files of a change that decide how it is judged."""
    code, prefix = judging_code(), f"{git.project_in_repository().as_posix()}/"
    names = host.changed_files(number)
    return sorted(name for name in names if decides(name.removeprefix(prefix), code))


def judging_code() -> set[str]:
    return {path for name in JUDGES for path in imports.reached(f"ops/{name}.py")}


def decides(name: str, code: set[str]) -> bool:
    """Whether a file is a judge's code, a pin or CI's, or could be imported in place of one.

    Python looks for a module in the root folder first, and runs a package's `__init__.py`.
    """
    folder, _, rest = name.partition("/")
    shadows = name.endswith(".py") and (not rest or not (ROOT / folder).is_dir())
    is_package = name.endswith("/__init__.py") and folder in ROOMS
    return name in code or name.startswith(FILES) or shadows or is_package


def read_report(run: FinishedRun) -> str | None:
    """The report, cut to the size of a comment; None if there is none."""
    content = run.report(4 * LIMIT + 1)  # of UTF-8, 4 bytes a character at most
    if content is None:
        return None
    text = content.decode(errors="replace").replace("@", "@\u200b")
    units = text.encode("utf-16-le")  # what GitHub may count as characters
    if len(units) <= 2 * LIMIT and len(content) <= 4 * LIMIT:
        return text
    return units[: 2 * LIMIT].decode("utf-16-le", errors="ignore") + CUT


def compose(run: FinishedRun, report: str | None, judge: list[str], outcome: str = "") -> str:
    """The comment: first what the host says, then what the change's own code says."""
    lines = [MARKER, run.headline(outcome), ""]
    if run.caution:
        lines += [run.caution, ""]
    if judge:
        lines += [
            "This change touches the code that judges it. Read that first: "
            + first([f"`{name}`" for name in judge], 20),
            "",
        ]
    return "\n".join([*lines, report or "The run ended before its report. Its log says why."])
