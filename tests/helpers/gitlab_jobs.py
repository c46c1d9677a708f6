"""The jobs of .gitlab-ci.yml: which ones a pipeline has, and a runner that runs their scripts.

Example:

    assert "compare" in jobs_started({"CI_PIPELINE_SOURCE": "merge_request_event"})
    assert run_gitlab_job("compare", folder, environment).returncode == 0
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.small import ROOT

FILE = ROOT / ".gitlab-ci.yml"
GLOBAL = {"default", "stages", "variables", "workflow"}
# One comparison in a rule: $A, $A == "b", $A == $B, $A =~ /b/.
TERM = re.compile(r'\$(\w+)(?: (==|!=|=~) (?:"([^"]*)"|\$(\w+)|/(.*)/))?')


def read() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return content


def gitlab_job(name: str) -> dict[str, Any]:
    """A job with what it extends."""
    content = read()
    found: dict[str, Any] = content[name]
    return content.get(found.get("extends"), {}) | found


def names() -> list[str]:
    return [name for name in read() if name not in GLOBAL and not name.startswith(".")]


def jobs_started(variables: Mapping[str, str], changes: Sequence[str] = ()) -> set[str]:
    """The jobs of a pipeline."""
    if not any(holds(rule, variables, changes) for rule in read()["workflow"]["rules"]):
        return set()
    return {
        name
        for name in names()
        if any(holds(rule, variables, changes) for rule in gitlab_job(name)["rules"])
    }


def holds(rule: Mapping[str, Any], variables: Mapping[str, str], changes: Sequence[str]) -> bool:
    assert rule.keys() <= {"if", "changes"}
    terms = rule["if"].split(" && ")
    return all(is_true(term, variables) for term in terms) and (
        "changes" not in rule or bool(set(rule["changes"]) & set(changes))
    )


def is_true(term: str, variables: Mapping[str, str]) -> bool:
    match = TERM.fullmatch(term)
    assert match, f"{term} is none of the comparisons that are known here"
    name, operator, text, other, pattern = match.groups()
    value = variables.get(name)
    if operator is None:
        return bool(value)
    if operator == "=~":
        return bool(re.search(pattern, value or ""))
    equal = value == (variables.get(other) if other else text)
    return equal if operator == "==" else not equal


def listed(lines: str | list[str]) -> list[str]:
    """The lines of a script: one, or those of a list in the list."""
    return [lines] if isinstance(lines, str) else lines


def run_gitlab_job(
    name: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a job's script as GitLab's runner does, where what `make` sets up is there already."""
    lines = [line for each in gitlab_job(name)["script"] for line in listed(each)]
    script = "\n".join(["set -eo pipefail", "make() { :; }", *lines])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        cwd=folder,
        env={
            **read()["variables"],
            "GITLAB_CI": "true",
            "CI_ENVIRONMENT_NAME": gitlab_job(name).get("environment", {}).get("name", ""),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
