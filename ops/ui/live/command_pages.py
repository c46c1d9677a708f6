"""The forms that run commands, and the pages of the commands that ran."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode

from ops.tools import presets
from ops.ui.facts import jobs
from ops.ui.facts.jobs import Job
from ops.ui.live import actions, terminal
from ops.ui.live.actions import Form
from ops.ui.pages.render import html
from ops.ui.project import Project

REASON = re.compile("BLOCKED: |error: |ERROR: ")  # begins the line of a command that says why
RAN = re.compile(r"Ran experiment\(s\): (\S+)")  # how DVC says the name that it made up


def form_page(project: Project, name: str, given: Mapping[str, str], *, sent: bool) -> bytes:
    """A form, filled in.

    Parameters
    ----------
    name : of the action
    given : the values of its fields
    sent : it was sent and did not run; the form shows its errors, or the new command
    """
    action = actions.ACTIONS[name]
    form = action.fill_in(given)
    return html(
        project,
        "run.html",
        "run.html.jinja",
        "Commands",
        actions=actions.ACTIONS,
        name=name,
        action=action,
        form=form,
        sent=sent,
        shown={key: text for key, text in form.problems.items() if sent or key in given},
        presets=presets.names() if name == "experiment" else {},
        preset=given.get("preset", ""),
        sweep=sweep_text(form) if name == "sweep" else None,
    )


def sweep_text(form: Form) -> str:
    """The content of the file that a sweep's form names."""
    path = actions.SWEEPS / form.words[-1].removeprefix(f"{actions.SWEEPS}/")
    is_there = path.is_file() and form.is_complete
    return path.read_text(encoding="utf-8", errors="replace") if is_there else ""


def query(name: str, form: Form) -> str:
    return urlencode({"action": name} | form.given)


def list_page(project: Project) -> bytes:
    """The latest commands."""
    return html(
        project,
        "jobs.html",
        "jobs.html.jinja",
        "Commands",
        actions=actions.ACTIONS,
        jobs=jobs.every(),
    )


def job_page(project: Project, job: Job) -> bytes:
    """A command that runs, waits or has ended."""
    action = actions.ACTIONS[job.action]
    label, fields = ("", {}) if job.code is None else action.following.get(job.code, ("", {}))
    output, is_cut = terminal.read_end(job.log)
    waits_for = [other for other in jobs.every() if not other.ended and other.asked < job.asked]
    return html(
        project,
        job.page,
        "job.html.jinja",
        job.title,
        job=job,
        output=output,
        is_cut=is_cut,
        curve=job.read_progress().decode() or "null",
        action=action,
        continues=job.state in ("stopped", "interrupted") and "--temp" not in job.words,
        ending=action.endings.get(job.code, "") if job.code else "",
        reason=next(filter(REASON.match, output.lines), "") if job.state == "failed" else "",
        waits_for=waits_for if job.state == "waiting" else [],
        next=label,
        next_form=urlencode(following(job, fields, output.lines)),
    )


def following(job: Job, fields: Mapping[str, str], output: Iterable[str]) -> dict[str, str]:
    """The fields of the form that comes after a job, whose last lines of output are given."""
    given: dict[str, str] = dict(parse_qsl(job.query))
    if "action" not in fields:
        return {**given, **fields}
    if job.action != "experiment":
        return dict(fields)
    if "--temp" not in job.words:
        return {**fields, "experiment": ""}  # its results are in this folder
    names = [match[1] for match in map(RAN.fullmatch, output) if match]
    return {**fields, "experiment": names[-1]} if names else dict(fields)
