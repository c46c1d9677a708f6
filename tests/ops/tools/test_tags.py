"""What GTO's tags say, read in order."""

from pathlib import Path

import pytest

from ops.tools import git
from ops.tools.tags import (
    NAME,
    Tag,
    holder,
    line_of_descent,
    next_time,
    next_version,
    read,
    versions,
)


def tag(name: str, commit: str, time: int, action: str = "promote") -> Tag:
    match = NAME.fullmatch(name)
    assert match
    return Tag(
        name, match["version"], match["stage"], bool(match["cancels"]), int(match["number"] or 0),
        commit, time, "A user", f"Action: {action}\n",
    )  # fmt: skip


def production(*steps: str) -> list[Tag]:
    """`a` promotes commit a, `<a` rolls back to it, `!a` takes it back."""
    return [
        tag(
            f"digit-classifier#production{'!' if step[0] == '!' else ''}#{i}",
            step[-1],
            i,
            "rollback" if step[0] == "<" else "promote",
        )
        for i, step in enumerate(steps, start=1)
    ]


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ("a", "a"),
        ("a b c", "abc"),
        ("a b c <b", "ab"),
        ("a b c <b <a", "a"),
        ("a b c <a c", "ac"),
        ("a b a", "aba"),
        ("a b a <b", "ab"),
        ("a b !b", "a"),
        ("a b c <a <c", "ac"),
        ("", ""),
    ],
)
def test_the_line_of_descent_leaves_out_what_was_rolled_back(steps: str, line: str) -> None:
    tags = production(*steps.split())
    assert "".join(line_of_descent(tags, "production")) == line
    found = holder(tags, "production")
    assert (found.commit if found else "") == line[-1:]


def test_of_two_tags_the_later_one_wins_whatever_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for key, value in (("NAME", "A user"), ("EMAIL", "user@example.com")):
        monkeypatch.setenv(f"GIT_AUTHOR_{key}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{key}", value)
    git.run("init", "--quiet")
    for time, number in ((1, 9), (2, 8), (2, 10)):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{1_000_000_000 + time} +0000")
        git.run("commit", "--quiet", "--allow-empty", "--message", "x")
        git.run("tag", "--annotate", "--message", "x", f"digit-classifier#production#{number}")
    assert [each.number for each in read()] == [9, 8, 10]


def test_the_next_version_is_a_minor_step_from_the_greatest_ever() -> None:
    assert next_version([]) == "v1.0.0"
    tags = [tag(f"digit-classifier@{v}", "a", 1) for v in ("v1.9.3", "v1.10.0", "v1.2.0")]
    assert next_version(tags) == "v1.11.0"
    assert next_version([*tags, tag("digit-classifier@v1.11.0!#3", "a", 2)]) == "v1.12.0"
    assert next_version([tag("digit-classifier@v1.2.3", "a", 1)]) == "v1.3.0"


def test_a_clock_that_was_ahead_does_not_hide_what_comes_later() -> None:
    assert next_time([tag("digit-classifier@v1.0.0", "a", 500)], now=100) == 501
    assert next_time([tag("digit-classifier@v1.0.0", "a", 50)], now=100) == 100


def test_a_version_that_was_taken_back_is_none() -> None:
    tags = [tag("digit-classifier@v1.0.0", "a", 1), tag("digit-classifier@v1.1.0", "b", 2)]
    assert versions(tags) == {"v1.0.0": "a", "v1.1.0": "b"}
    assert versions([*tags, tag("digit-classifier@v1.1.0!#1", "b", 3)]) == {"v1.0.0": "a"}


@pytest.mark.parametrize(
    "name", ["digit-classifier@1.0.0", "digit-classifier2@v1.0.0", "digit-classifier", "v1.0.0"]
)
def test_other_tags_are_left_alone(name: str) -> None:
    assert not NAME.fullmatch(name)
