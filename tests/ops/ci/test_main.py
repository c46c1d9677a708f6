"""Which host a job is of."""

from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.ci import __main__ as ci
from ops.ci import github, gitlab
from ops.tools import git


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    git.run("init", "--quiet")
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)


def test_a_host_is_known_by_what_its_jobs_have(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ci.find_host() is None
    monkeypatch.setenv("GITLAB_CI", "true")
    assert ci.find_host() is gitlab
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert ci.find_host() is github


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compare", "Name the base: digits ci compare --base origin/main"),
        ("merge", "Name the base: digits ci compare --base origin/main"),
        ("compare --override small", "--seeds and --override require --base"),
        ("compare --base nowhere", "'nowhere' is not a revision"),
        ("compare --base=-x", "'-x' is not a revision"),
    ],
)
def test_without_a_host_the_base_is_named(
    monkeypatch: pytest.MonkeyPatch, words: str, message: str
) -> None:
    monkeypatch.setattr("sys.argv", ["digits ci", *words.split()])
    with pytest.raises(InputError, match=message):
        ci.main()
