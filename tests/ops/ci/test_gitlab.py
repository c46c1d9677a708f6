"""Against a server that answers as GitLab's API does."""

from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.ci import comment
from ops.ci import gitlab as on_gitlab
from ops.ci.host import MARKER, Change
from ops.tools import git
from tests.helpers.git_hosts import GitLab

SHA = "c0ffee" + "0" * 34
JOB = {
    "id": 31,
    "name": "compare",
    "status": "failed",
    "web_url": "https://gitlab.example/g/p/-/jobs/31",
}
PIPELINE = {
    "id": 21,
    "sha": SHA,
    "ref": "refs/merge-requests/3/head",
    "source": "merge_request_event",
    "project_id": 7,
}


@pytest.fixture(autouse=True)
def _merge_request(gitlab: GitLab) -> None:
    """Of the project itself; its newest pipeline has a report."""
    gitlab.at("merge_requests").append({"iid": 3, "sha": SHA, "state": "opened"})
    branch_pipeline = {**PIPELINE, "id": 22, "source": "push"}
    old = {**PIPELINE, "id": 1, "sha": "0" * 40}
    gitlab.at("merge_requests/3/pipelines").extend([branch_pipeline, dict(PIPELINE), old])
    gitlab.at("pipelines/21/jobs").extend([{"name": "test"}, dict(JOB)])
    gitlab.at("merge_requests/3/diffs").append({"old_path": "params.yaml", "new_path": "dvc.yaml"})
    gitlab.files["/projects/7/jobs/31/artifacts/comparison/comment.md"] = b"BLOCKED: 12 broken\n"


def notes(gitlab: GitLab) -> list[str]:
    return gitlab.bodies("merge_requests/3/notes")


def post() -> None:
    comment.comment(on_gitlab, None)


def test_a_note_is_made_once_and_updated_when_there_is_a_newer_run(gitlab: GitLab) -> None:
    post()
    [body] = notes(gitlab)
    assert body.startswith(f"{MARKER}\nComparison of c0ffee000 **did not pass**: [run](https://")
    assert body.endswith("\nBLOCKED: 12 broken\n")
    assert "touches the code that judges it. Read that first: `dvc.yaml`\n" in body
    gitlab.at("merge_requests/3/notes")[0]["body"] += "(as it was)"
    post()
    assert notes(gitlab)[0].endswith("(as it was)")
    gitlab.at("pipelines/21/jobs")[1] |= {"web_url": "https://gitlab.example/32", "id": 32}
    post()
    [body] = notes(gitlab)
    assert "[run](https://gitlab.example/32)" in body
    assert body.endswith("The run ended before its report. Its log says why.")


def test_in_a_larger_repository_the_report_is_found(
    gitlab: GitLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "my vision" / "digits"
    project.mkdir(parents=True)
    git.run("init", "--quiet", folder=tmp_path)
    monkeypatch.chdir(project)
    artifacts = "/projects/7/jobs/31/artifacts"
    gitlab.files[f"{artifacts}/my%20vision/digits/comparison/comment.md"] = b"PASS: fine\n"
    post()
    assert notes(gitlab)[0].endswith("PASS: fine\n")


def test_a_strangers_text_can_not_keep_an_outdated_note_as_it_is(gitlab: GitLab) -> None:
    report = "/projects/7/jobs/31/artifacts/comparison/comment.md"
    newer = "Comparison of c0ffee000 **did not pass**: [run](https://gitlab.example/32)"
    gitlab.files[report] = f"\n{MARKER}\n{newer}\n\nfine".encode()
    post()
    gitlab.at("pipelines/21/jobs")[1] |= {"web_url": "https://gitlab.example/32", "id": 32}
    post()
    assert notes(gitlab)[0].startswith(f"{MARKER}\n{newer}\n")


def test_a_note_whose_update_failed_is_updated_by_the_next_run(
    gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    post()
    gitlab.at("pipelines/21/jobs")[1]["status"] = "success"

    def fail(*_: object) -> None:
        raise InputError("refused")

    with monkeypatch.context() as broken:
        broken.setattr(comment, "read_report", fail)
        with pytest.raises(InputError, match="refused"):
            post()
    assert "is outdated" in notes(gitlab)[0]
    post()
    assert "c0ffee000 passed" in notes(gitlab)[0]


def test_someone_elses_note_with_the_marker_stays(gitlab: GitLab) -> None:
    theirs = {"id": 1, "author": {"id": 6}, "body": f"{MARKER} fine"}
    gitlab.at("merge_requests/3/notes").extend([theirs, *([theirs] * 150)])
    post()
    assert len(notes(gitlab)) == 152
    assert notes(gitlab)[0] == f"{MARKER} fine"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("job", {"status": "running"}),
        ("job", {"status": "canceled"}),
        ("pipeline", {"sha": "1" * 40}),  # of an earlier push
        ("request", {"state": "merged"}),
    ],
)
def test_a_run_that_says_nothing_of_the_open_merge_request_gets_no_note(
    gitlab: GitLab, kind: str, change: dict[str, str]
) -> None:
    described = {
        "job": gitlab.at("pipelines/21/jobs")[1],
        "pipeline": gitlab.at("merge_requests/3/pipelines")[1],
        "request": gitlab.at("merge_requests")[0],
    }
    described[kind].update(change)
    post()
    assert notes(gitlab) == []


def test_a_strangers_text_is_cut_calls_nobody_and_commands_nothing(gitlab: GitLab) -> None:
    report = "/projects/7/jobs/31/artifacts/comparison/comment.md"
    gitlab.files[report] = (
        b"@all\n/merge\n \t/approve\n\r/close\n/label ~x\r\n\x0b/lock" + b"x" * 300_000
    )
    post()
    [body] = notes(gitlab)
    assert gitlab.commands == []
    assert "@all" not in body
    assert body.endswith("(cut here)")
    assert "merge" in body


def test_a_run_in_a_fork_is_called_so_and_a_private_one_stops_no_other(
    gitlab: GitLab, capsys: pytest.CaptureFixture[str]
) -> None:
    private = {"iid": 2, "sha": SHA, "state": "opened"}
    gitlab.at("merge_requests").insert(0, private)
    gitlab.at("merge_requests/2/pipelines").append({**PIPELINE, "project_id": 8})
    gitlab.at("merge_requests/3/pipelines")[1]["project_id"] = 9
    gitlab.lists["/projects/9/pipelines/21/jobs"] = [dict(JOB)]
    post()
    [body] = notes(gitlab)
    assert "It ran in the fork, whose owner decides what runs there." in body
    err = capsys.readouterr().err
    assert "!2: GET " in err
    assert "404" in err
    assert gitlab.bodies("merge_requests/2/notes") == []


def test_the_token_is_in_no_message(gitlab: GitLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-wrong")
    with pytest.raises(InputError, match="401: Unauthorized") as error:
        post()
    assert "glpat" not in str(error.value)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat\nwrong")
    with pytest.raises(InputError, match=r"GITLAB_TOKEN has characters that no token has") as error:
        post()
    assert "wrong" not in str(error.value)
    monkeypatch.setenv("GITLAB_TOKEN", "")
    with pytest.raises(InputError, match="GITLAB_TOKEN is not set"):
        post()


def test_a_branch_has_one_merge_request_while_it_is_open(gitlab: GitLab) -> None:
    fork = {"iid": 1, "source_branch": "retrain", "target_branch": "trunk", "source_project_id": 8}
    gitlab.at("merge_requests")[:] = [fork]
    for text in ("PASS", "/merge"):
        on_gitlab.propose("retrain", "trunk", "Retrained", text)
    assert [r.get("description") for r in gitlab.at("merge_requests")] == [None, "\u200b/merge"]
    assert gitlab.commands == []
    gitlab.at("merge_requests")[1]["state"] = "merged"
    on_gitlab.propose("retrain", "trunk", "Retrained", "PASS")
    assert len(gitlab.at("merge_requests")) == 3


# The change that a job is about


@pytest.fixture
def describe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "release/2")
    monkeypatch.setenv("CI_COMMIT_SHA", SHA)
    monkeypatch.setenv("GITLAB_USER_LOGIN", "tanuki")
    monkeypatch.setenv("CI_MERGE_REQUEST_DESCRIPTION", "x\r\nGate-override:  small \r\ny")


@pytest.mark.usefixtures("describe")
@pytest.mark.parametrize(
    ("labels", "change"),
    [
        (None, Change("target/release/2")),
        ("bug,three-seeds", Change("target/release/2", seeds=3)),
        ("gate-override c0ffee000", Change("target/release/2", override="small (tanuki)")),
        ("gate-override", Change("target/release/2")),
        ("gate-override c0ff", Change("target/release/2")),  # too short to be sure
        ("gate-override c0ffee111", Change("target/release/2")),  # before a push
    ],
)
def test_labels_say_how_a_change_is_judged(
    monkeypatch: pytest.MonkeyPatch, labels: str | None, change: Change
) -> None:
    if labels is not None:
        monkeypatch.setenv("CI_MERGE_REQUEST_LABELS", labels)
    assert on_gitlab.change() == change


@pytest.mark.usefixtures("describe")
def test_of_a_merged_results_pipeline_the_label_names_the_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "1" * 40)
    monkeypatch.setenv("CI_MERGE_REQUEST_LABELS", f"gate-override {'1' * 9}")
    assert on_gitlab.change().override
    monkeypatch.setenv("CI_MERGE_REQUEST_DESCRIPTION", "Gate-override:\nno reason")
    with pytest.raises(InputError, match="requires a line"):
        on_gitlab.change()
