"""The gate's rules in a params.yaml: of a file or of a commit."""

from collections.abc import Mapping
from typing import Any

from digits.core.errors import InputError
from digits.core.params import Params, parse_yaml
from digits.gate.rules import Rules
from ops.tools import git
from ops.tools.revisions import PARAMS


class GateParams(Params):
    gate: Rules


def rules_in_commit(commit: str, name: str) -> tuple[Rules, str]:
    """Return a commit's rules and their origin, as in `main:params.yaml`."""
    content = git.read(commit, PARAMS)
    if content is None:
        raise InputError(f"{name} has no {PARAMS}, so it has no rules. Name others with --rules")
    origin = f"{name}:{PARAMS}"
    return rules_in(parse_yaml(content, origin), origin), origin


def rules_in(document: Mapping[str, Any], origin: str) -> Rules:
    """Return the rules in the content of a params.yaml, whose name is `origin`."""
    if "gate" not in document:
        raise InputError(
            f"{origin} has no section `gate`, so it has no rules. Name others with --rules"
        )
    return GateParams.parse({"gate": document["gate"]}, origin).gate
