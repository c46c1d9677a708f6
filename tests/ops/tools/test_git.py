"""Real repositories: a subfolder, another owner, a worktree, names that are no UTF-8."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.tools import git

NO_UTF8 = os.fsdecode(b"caf\xe9")
VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")


def run(*words: str, folder: Path = Path()) -> str:
    return subprocess.check_output(["git", *words], cwd=folder, text=True).strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits; the project is its folder vision/digits."""
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    folder = tmp_path / "repository"
    project = folder / "vision" / "digits"
    project.mkdir(parents=True)
    run("init", "--quiet", "--initial-branch=main", folder=folder)
    run("config", "user.name", "A user", folder=folder)
    run("config", "user.email", "user@example.com", folder=folder)
    (project / "params.yaml").write_text("a: 1\n")
    run("add", ".", folder=folder)
    run("commit", "--quiet", "--message=one", folder=folder)
    (project / "params.yaml").write_text("a: 2\n")
    run("commit", "--quiet", "--all", "--message=two", folder=folder)
    monkeypatch.chdir(project)
    return folder


def test_a_clone_has_the_commit_and_returns_the_projects_folder(
    repository: Path, tmp_path: Path
) -> None:
    project = git.clone(git.commit("HEAD~1"), tmp_path / "clone")
    assert project == tmp_path / "clone" / "vision" / "digits"
    assert (project / "params.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize("names", [*((name,) for name in VARIABLES), VARIABLES])
def test_what_git_sets_for_a_hook_does_not_reach_a_clone(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    data = repository / ".git"
    values = {
        "GIT_DIR": data,
        "GIT_WORK_TREE": repository,
        "GIT_INDEX_FILE": data / "index",
        "GIT_COMMON_DIR": data,
        "GIT_OBJECT_DIRECTORY": data / "objects",
    }
    before = run("rev-parse", "HEAD"), (data / "HEAD").read_text(), (data / "index").read_bytes()
    with monkeypatch.context() as hook:
        for name in names:
            hook.setenv(name, str(values[name]))
        project = git.clone(git.commit("HEAD~1"), tmp_path / "clone")
        git.run("config", "user.name", "The clone", folder=project)
        assert git.run("rev-parse", "--show-prefix", folder=project) == "vision/digits/"
        assert not {*VARIABLES} & git.clean_environment().keys()
    assert (project / "params.yaml").read_text() == "a: 1\n"
    assert (run("rev-parse", "HEAD"), (data / "HEAD").read_text()) == before[:2]
    assert (data / "index").read_bytes() == before[2]
    assert run("config", "user.name") == "A user"
    assert run("status", "--porcelain") == ""


def test_a_hook_in_a_worktree_finds_a_project_that_is_a_subfolder(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git sets GIT_DIR there, and then takes the current folder for the repository's root."""
    worktree = tmp_path / "worktree"
    run("worktree", "add", "--quiet", str(worktree), "HEAD~1")
    monkeypatch.chdir(worktree / "vision" / "digits")
    monkeypatch.setenv("GIT_DIR", str(repository / ".git" / "worktrees" / "worktree"))
    monkeypatch.setenv("GIT_PREFIX", "vision/digits/")
    commit = git.commit("HEAD")
    assert git.read(commit, "params.yaml") == b"a: 1\n"
    assert git.paths_here("params.yaml") == ["params.yaml"]
    project = git.clone(commit, tmp_path / "clone")
    assert (project / "params.yaml").read_text() == "a: 1\n"


def test_the_words_of_git_on_another_owner_come_through(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own tests use it
    head = run_or_none("rev-parse", "HEAD")
    assert head is None, "Git no longer knows the variable"
    for ask in (git.find_commit, git.commit, git.experiments):
        with pytest.raises(InputError, match=r"dubious ownership(.|\n)*safe\.directory"):
            ask("main")


def run_or_none(*words: str) -> str | None:
    result = subprocess.run(["git", *words], capture_output=True, text=True)
    return result.stdout if result.returncode == 0 else None


def test_a_revision_that_does_not_exist_is_none_and_a_question_that_fails_an_error(
    repository: Path,
) -> None:
    for rev in ("nobody", "", "a..b", "params.yaml", "-x", "--path-format=x", NO_UTF8):
        assert git.find_commit(rev) is None
    with pytest.raises(InputError, match="no upstream configured for branch 'main'"):
        git.find_commit("@{upstream}")
    (repository / ".git" / "HEAD").unlink()
    with pytest.raises(InputError, match="not a git repository"):
        git.find_commit("main")


def test_a_version_of_the_model_is_a_revision_by_its_name(repository: Path) -> None:
    run("tag", "--annotate", "--message=x", "digit-classifier@v1.2.0", "HEAD~1")
    assert git.find_commit("v1.2.0") == git.find_commit("1.2.0") == git.find_commit("HEAD~1")
    run("branch", "v1.2.0")
    assert git.find_commit("v1.2.0") == git.find_commit("HEAD")


def test_an_object_that_git_lost_is_no_absent_file(repository: Path) -> None:
    commit = git.commit("HEAD")
    assert git.read(commit, "nothing.yaml") is None
    assert git.read(commit, "..") is None
    blob = run("rev-parse", "HEAD:./params.yaml")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    for read in (
        lambda: git.read(commit, "params.yaml"),
        lambda: git.read_all(commit, ["params.yaml"]),
    ):
        with pytest.raises(InputError, match=r"params\.yaml of .* can't be read from Git"):
            read()


def test_a_path_is_one_from_the_current_folder(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git.commit("HEAD")
    content = git.read(commit, "params.yaml")
    assert content == git.read(commit, "../digits/params.yaml")
    assert git.paths(commit, ".") == git.paths(commit, "./") == git.paths(commit, "../digits")
    assert "params.yaml" in git.paths(commit, ".")
    assert git.paths(commit, "params.yaml") == ["params.yaml"]
    assert git.paths(commit, "params") == git.paths("HEAD", "params") == []
    monkeypatch.chdir(repository)
    assert git.read(commit, "params.yaml") is None
    assert git.paths(commit, "params.yaml") == []
    assert git.read(commit, "vision/digits/params.yaml") == content
    assert "vision/digits/params.yaml" in git.paths(commit, "vision")


def test_names_of_any_bytes_are_read(repository: Path, tmp_path: Path) -> None:
    names = [NO_UTF8, "a b", " blank", "two\nlines", "a\x85b\u2028c", "é"]
    folder = Path("data")
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name, encoding="utf-8", errors="surrogateescape")
    inner = folder / "submodule"
    run("init", "--quiet", str(inner))
    run(
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x",
        folder=inner,
    )
    subprocess.run(["git", "add", "data"], check=True, capture_output=True)
    run("commit", "--quiet", "--message=names")
    commit = git.commit("HEAD")
    expected = {f"data/{name}": os.fsencode(name) for name in names}
    assert git.read_all(commit, git.paths(commit, "data")) == expected
    assert git.paths_here("data") == sorted(expected)
    assert all(git.read(commit, path) == content for path, content in expected.items())
    shutil.rmtree(inner)


def test_experiments_are_read_whatever_their_names(repository: Path) -> None:
    commit = git.commit("HEAD")
    for name in (NO_UTF8, "a\u2028b", "plain"):
        run("update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{name}", commit)
    assert git.experiments() == dict.fromkeys((NO_UTF8, "a\u2028b", "plain"), commit)
    assert git.commit(NO_UTF8) == commit


def test_of_experiments_of_one_name_the_one_of_head_counts_else_the_newest(
    repository: Path,
) -> None:
    head = git.commit("HEAD")
    tree, author = f"{head}^{{tree}}", ("-c", "user.name=A", "-c", "user.email=a@example.com")

    def commit(at: int) -> str:
        date = {"GIT_COMMITTER_DATE": f"@{at} +0000"}
        words = (*author, "commit-tree", tree, "-m", f"{at}")
        return git.run(*words, environment=os.environ | date)

    def experiment(base: str, at: int) -> str:
        made = commit(at)
        run("update-ref", git.experiment_reference("wide", base), made)
        return made

    others = [commit(at) for at in (1_000_000, 1_000_001)]
    newest, _ = experiment(others[0], 3_000_000), experiment(others[1], 2_000_000)
    assert git.commit("wide") == newest
    of_head = experiment(head, 1_500_000)
    assert git.commit("wide") == of_head
    assert git.experiments() == {"wide": of_head}


def test_a_setting_is_a_value_or_none(repository: Path) -> None:
    run("config", "tag.gpgSign", "yes")
    assert git.setting("tag.gpgSign", "bool") == "true"
    assert git.setting("tag.nothing") is None
    with (repository / ".git" / "config").open("a") as file:
        file.write("[tag\n")
    with pytest.raises(InputError, match="bad config line"):
        git.setting("tag.gpgSign")


@pytest.mark.parametrize("base", ["--output=vic/tim.txt", "zz/zz", f"{'0' * 2}/{'0' * 38}"])
def test_an_experiment_of_no_commit_is_nobodys(repository: Path, base: str) -> None:
    """Git took the first for an option, and wrote a file."""
    head = git.commit("HEAD")
    run("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/sound", head)
    run("update-ref", f"refs/exps/{base}/evil", head)
    assert git.all_experiments() == [git.Experiment("sound", head, head)]


def test_a_time_has_a_calendar_date_whatever_a_commit_says(repository: Path) -> None:
    assert git.seconds("1700000000") == 1_700_000_000
    assert git.seconds("") == 0
    assert git.seconds(f"{10**17}") == git.LATEST


def test_a_question_leaves_the_index_alone(repository: Path) -> None:
    """A lock that Git takes to refresh it would make the user's own command fail."""
    path = repository / "vision" / "digits" / "params.yaml"
    os.utime(path, (1, 1))
    index = repository / ".git" / "index"
    before = index.read_bytes()
    assert git.run("status", "--porcelain") == ""
    assert index.read_bytes() == before
    run("status", "--porcelain")
    assert index.read_bytes() != before
