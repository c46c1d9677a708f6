"""Promotion and rollback between real clones and a real server; gto and dvc are the witnesses."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.registry import publishing
from tests.helpers.model_project import Models
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(50)

GOOD, BETTER, WORSE = range(100, 130), range(100, 129), range(100, 150)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server and a storage folder, with one model in production and a newer one on main."""
    folder = tmp_path_factory.mktemp("shop")
    made = Models.create(folder / "ann", server=folder / "server", storage=Path("../storage"))
    made.run("git", "remote", "set-url", "origin", "../server")
    made.train(GOOD)
    made.registry("promote")
    made.train(BETTER)
    return folder


@pytest.fixture
def ann(shop: Path, tmp_path: Path) -> Models:
    """A copy of all that, to do with as one likes."""
    shutil.copytree(shop, tmp_path / "shop", symlinks=True)
    return Models(tmp_path / "shop" / "ann")


# One person


def test_a_promotion_is_what_gto_and_dvc_see(ann: Models) -> None:
    said = ann.registry("promote")
    assert "PASS: no worse than production (v1.0.0)" in said
    assert said.endswith("production is v1.1.0 now: digit-classifier#production#2\n")
    assert ann.held() == "v1.1.0"
    assert ann.tags() == ann.tags_on_server()
    ann.run(
        "dvc", "artifacts", "get", ".", "digit-classifier", "--stage=production", "--out=../got"
    )
    model = (ann.folder.parent / "got" / "model.json").read_bytes()
    assert json.loads(model) == {"wrong": list(BETTER)}
    text = ann.run("git", "cat-file", "tag", "digit-classifier#production#2")
    for line in (
        "tag digit-classifier#production#2",
        "Verdict: PASS: no worse than production (v1.0.0)",
        f"Model: {hashlib.sha256(model).hexdigest()}",
        f"Test-set: {'b' * 64}",
        "Errors: 29 of 10000",
        "From: v1.0.0",
    ):
        assert line in text.splitlines()
    events = ann.json("gto", "history", "--json")
    assert [event["event"] for event in events] == ["assignment", "registration"] * 2  # type: ignore[index]


def test_a_second_time_there_is_nothing_to_do(ann: Models) -> None:
    ann.registry("promote")
    before = ann.tags()
    said = ann.registry("promote")
    assert said == "production is v1.1.0 already: digit-classifier#production#2\n"
    assert ann.tags() == before


def test_from_staging_to_production_by_version(ann: Models) -> None:
    ann.registry("promote", "--stage", "staging", "--version", "1.0.7")
    assert (ann.held("staging"), ann.held()) == ("v1.0.7", "v1.0.0")
    ann.train(WORSE)
    ann.registry("promote", "--version", "1.0.7")
    assert ann.held() == "v1.0.7"


def test_a_worse_model_is_blocked_unless_somebody_says_why(ann: Models) -> None:
    ann.train(WORSE)
    before = ann.tags()
    said = ann.registry("promote", code=1)
    assert "BLOCKED: against production (v1.0.0), test images: 20 broken and 0 fixed" in said
    assert "--force --reason TEXT" in said
    assert "--force requires --reason" in ann.registry("promote", "--force", code=2)
    assert ann.tags() == ann.tags_on_server() == before
    ann.registry("promote", "--force", "--reason", "wrong\nlabels: all")
    last = ann.history()[0]
    assert (last["what"], last["why"], last["to"]) == ("promote", "wrong labels: all", "v1.1.0")
    assert last["verdict"].startswith("OVERRIDDEN by a reviewer (wrong")
    assert "Forced-by: A user" in ann.run("git", "cat-file", "tag", last["tag"])


def test_the_rules_are_those_of_what_holds_the_stage(ann: Models) -> None:
    path = ann.folder / "params.yaml"
    path.write_text(path.read_text().replace("max_loss: 30", "max_loss: 10000"))
    ann.train(range(1000, 1047))
    assert "the loss may be as large as 3" in ann.registry("promote", code=1)
    ann.train(range(110, 145))
    said = ann.registry("promote", code=0)
    assert "rules: production (v1.0.0):params.yaml" in said
    ann.train([*GOOD, *range(1000, 1005), *range(2000, 2040)])
    assert "errors is 75; allowed is at most 60" in ann.registry("promote", code=1)


def test_a_model_that_its_metrics_do_not_describe_is_refused(ann: Models) -> None:
    path = ann.folder / "metrics" / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "d" * 64}))
    ann.run("dvc", "commit", "--quiet", "--force")
    ann.commit("metrics of another model")
    ann.run("dvc", "push", "--quiet")
    ann.run("git", "push", "--quiet", "origin", "main")
    assert "but metrics/ describes ddddddddd" in ann.registry("promote", code=2)


def test_another_test_set_is_a_reason_to_say_so(ann: Models) -> None:
    ann.train(BETTER, test_set="c" * 64)
    assert "different code or data (the test set)" in ann.registry("promote", code=2)
    ann.registry("promote", "--force", "--reason", "a new test set")
    verdict = ann.history()[0]["verdict"]
    assert verdict.startswith("OVERRIDDEN by a reviewer (a new test set), in spite of: it was not ")
    assert ann.held() == "v1.1.0"


def test_going_back_and_further_back(ann: Models) -> None:
    ann.registry("promote")
    ann.train(GOOD[2:])
    ann.registry("promote")
    assert ann.held() == "v1.2.0"
    said = ann.registry("rollback", "--reason", "takes 7 for 1")
    assert said == "production is v1.1.0 again, after v1.2.0: digit-classifier#production#4\n"
    assert ann.held() == "v1.1.0"
    assert "v1.1.0 already" in ann.registry("rollback", "--reason", "takes  7 for 1")
    ann.registry("rollback", "--reason", "so does this one")
    assert ann.held() == "v1.0.0"
    assert "the first in production" in ann.registry("rollback", "--reason", "x", code=2)
    ann.registry("rollback", "--to", "1.2.0", "--reason", "it was the scanner")
    assert ann.held() == "v1.2.0"
    assert "v9.0.0 never held production; these did: v1.0.0, v1.1.0, v1.2.0" in ann.registry(
        "rollback", "--to", "v9.0.0", "--reason", "x", code=2
    )
    ann.run(
        "dvc", "artifacts", "get", ".", "digit-classifier", "--stage=production", "--out=../got"
    )
    assert len(json.loads((ann.folder.parent / "got/model.json").read_text())["wrong"]) == 28
    assert ann.tags() == ann.tags_on_server()


def test_history_reads(ann: Models) -> None:
    ann.registry("promote", "--reason", "Monday's")
    ann.registry("rollback", "--reason", "takes 7 for 1")
    lines = ann.registry("history").splitlines()
    assert lines[0] == "production is v1.0.0"
    assert [line.split()[0] for line in lines[1:]] == ["when"] + [lines[2].split()[0]] * 3
    assert "rollback  v1.1.0  v1.0.0  -        A user  takes 7 for 1" in lines[2]
    assert "promote   v1.0.0  v1.1.0  PASS     A user  Monday's" in lines[3]
    assert "promote   -       v1.0.0  PASS     A user  within all limits" in lines[4]
    assert ann.history("--stage", "staging") == []
    first = ann.history()[-1]
    assert (first["from"], first["to"], first["test_set"]) == (None, "v1.0.0", "b" * 64)


def test_what_gto_itself_assigned_counts(ann: Models) -> None:
    ann.run("gto", "register", "digit-classifier", "--version", "v2.0.0", "HEAD")
    ann.run("gto", "assign", "digit-classifier", "--stage", "production", "--version", "v2.0.0")
    ann.run("git", "push", "--quiet", "origin", "--tags")
    assert "v2.0.0 already" in ann.registry("promote")
    ann.registry("rollback", "--reason", "by hand")
    assert ann.held() == "v1.0.0"
    ann.run("gto", "deprecate", "digit-classifier", "v2.0.0", "production")
    ann.run("git", "push", "--quiet", "origin", "--tags")
    assert ann.registry("history").startswith(f"production is {ann.held()}\n")


def test_what_holds_a_stage_without_being_a_version_becomes_one(ann: Models) -> None:
    """GTO can assign a mere commit; so can a kill in a repository without a server."""
    ann.run("git", "tag", "-a", "-m", "x", "digit-classifier#production#2")
    ann.run("git", "push", "--quiet", "origin", "--tags")
    ann.registry("promote")
    assert ann.held() == "v1.1.0"
    assert "v1.1.0 already" in ann.registry("promote")


# Refused, with the way out


def test_what_is_not_ready_is_refused(ann: Models) -> None:
    def refused(*words: str, **environment: str) -> str:
        before = ann.tags(), ann.tags_on_server()
        said = ann.registry("promote", *words, code=2, **environment)
        assert (ann.tags(), ann.tags_on_server()) == before
        return said

    assert "the version is '1.2'; expected three numbers" in refused("--version", "1.2")
    assert "git config user.name" in refused(
        GIT_CONFIG_COUNT="2",
        GIT_CONFIG_KEY_0="user.name",
        GIT_CONFIG_VALUE_0="",
        GIT_CONFIG_KEY_1="user.useConfigOnly",
        GIT_CONFIG_VALUE_1="true",
    )
    (ann.folder / "code.py").write_text("a = 1\n")
    assert "M code.py\n  Commit and push the changes, or put them aside: git stash" in refused()
    ann.commit("code alone")
    assert "is on no branch of origin. Run: git push origin HEAD" in refused()
    ann.run("git", "push", "--quiet", "origin", "main")
    assert (
        "the stage evaluate is out of date (code.py changed). Run dvc repro, then commit"
        in refused()
    )
    (ann.folder / "metrics" / "evaluation.json").write_text("{}")
    ann.commit("metrics alone")
    ann.run("git", "push", "--quiet", "origin", "main")
    assert "metrics/evaluation.json is not the file that dvc.lock names" in refused()


def test_a_model_that_others_cannot_have_is_refused(ann: Models) -> None:
    ann.train(GOOD[3:], push=False)
    ann.run("git", "push", "--quiet", "origin", "main")
    said = ann.registry("promote", code=2)
    assert "models/digit-classifier is missing or damaged in" in said
    assert "Is it missing? dvc push --rev " in said
    ann.run("dvc", "push", "--quiet")
    stored = ann.folder.parent / "storage" / "files" / "md5"
    digest = hashlib.md5(bytes(range(256)) * 27).hexdigest()
    path = stored / digest[:2] / digest[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-1] + b"?")
    said = ann.registry("promote", code=2)
    assert "models/digit-classifier/model.onnx is missing or damaged in" in said
    assert "digits doctor --repair" in said
    path.write_bytes(whole)
    ann.run("dvc", "remote", "remove", "storage")
    ann.commit("no remote")
    ann.run("git", "push", "--quiet", "origin", "main")
    assert "make remote URL=s3://bucket/path" in ann.registry("promote", code=2)


def test_going_back_to_a_model_that_is_gone_requires_force(ann: Models) -> None:
    ann.registry("promote")
    shutil.rmtree(ann.folder.parent / "storage")
    words = ("rollback", "--reason", "takes 7 for 1")
    assert "To roll back anyway: --force" in ann.registry(*words, code=2)
    assert "warning: models/digit-classifier is missing or damaged in" in ann.registry(
        *words, "--force"
    )
    assert ann.held() == "v1.0.0"


def test_without_a_server_or_a_remote_it_stays_at_home(tmp_path: Path) -> None:
    alone = Models.create(tmp_path / "alone", server=None, storage=None)
    alone.train(GOOD, push=False)
    said = alone.registry("promote")
    assert "no Git remote: the tags stay in this repository" in said
    assert "no DVC remote: the model stays in this repository's cache" in said
    assert alone.held() == "v1.0.0"
    alone.train(BETTER, push=False)
    alone.registry("promote")
    alone.registry("rollback", "--reason", "x")
    assert alone.held() == "v1.0.0"
    shutil.rmtree(alone.folder / ".dvc" / "cache")
    assert "Is it missing? dvc repro" in alone.registry("promote", "--version", "1.1.0", code=2)


def test_two_at_once_in_one_repository_are_told_apart_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Models.create(tmp_path / "alone", server=None, storage=None)
    alone.train(GOOD, push=False)
    monkeypatch.chdir(alone.folder)
    said = {"Version": "v1.0.0", "Action": "promote", "Stage": "production"}
    head = alone.run("git", "rev-parse", "HEAD").strip()
    names = ["digit-classifier@v1.0.0", "digit-classifier#production#1"]
    publishing.publish(None, head, names, said, [])
    before = alone.tags()
    names[0] = "digit-classifier@v1.1.0"
    with pytest.raises(InputError, match="first: this repository has digit-classifier#prod"):
        publishing.publish(None, head, names, said, [])
    assert alone.tags() == before


# Two people, and a server


def test_of_two_at_once_one_wins_and_the_other_says_so(ann: Models) -> None:
    """The second one has fetched and judged before the first one pushes."""
    ben = ann.clone("ben")
    hook = ann.folder.parent / "server" / "hooks" / "pre-receive"
    other = f"cd {ben.folder} && PYTHONPATH={ROOT} python -m ops.registry promote"
    hook.write_text(
        f"#!/bin/sh\nrm {hook}\n"
        f"env -u GIT_DIR -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY"
        f" -u GIT_ALTERNATE_OBJECT_DIRECTORIES sh -c '{other}' >&2\n"
    )
    hook.chmod(0o755)
    said = ann.registry("promote", code=2)
    assert (
        "promotion or rollback came first: origin has digit-classifier@v1.1.0, digit-class" in said
    )
    assert "Nothing was published" in said
    tags = ben.tags()
    assert len(tags) == 4
    assert ann.tags_on_server() == tags
    assert "v1.1.0 already" in ann.registry("promote")
    assert ann.tags() == tags
    assert ann.history()[0]["by"] == "Ben"


def test_a_tag_of_the_server_is_fetched_first(ann: Models) -> None:
    ben = ann.clone("ben")
    ann.registry("promote")
    assert "v1.1.0 already: digit-classifier#production#2" in ben.registry("promote")
    ben.run("git", "tag", "--delete", *ben.tags())
    ben.registry("rollback", "--reason", "takes 7 for 1")
    assert ben.tags() == ann.tags_on_server()
    assert ben.held() == "v1.0.0"


def test_a_tag_that_only_this_clone_has_is_named(ann: Models) -> None:
    ann.run("gto", "register", "digit-classifier", "--version", "v2.0.0", "HEAD")
    said = ann.registry("promote", code=2)
    assert "the tag digit-classifier@v2.0.0 is here, but not on origin" in said
    ann.run("sh", "-c", said.split("To publish it:")[1].splitlines()[0])
    ann.registry("promote")
    assert ann.held() == "v2.0.0"
    ann.run("git", "tag", "--force", "--annotate", "--message=x", "digit-classifier@v1.0.0")
    said = ann.registry("rollback", "--reason", "x", code=2)
    assert "digit-classifier@v1.0.0 here differs from the one on origin" in said
    ann.run("sh", "-c", said.split("To delete it:")[1].splitlines()[0])
    ann.registry("rollback", "--reason", "x")
    assert ann.held() == "v1.0.0"


@pytest.mark.parametrize(("hook", "arrived"), [("pre-receive", False), ("post-receive", True)])
def test_a_push_that_is_cut_off_is_done_or_not_done(ann: Models, hook: str, arrived: bool) -> None:
    """The client is killed while the server works; the same command again completes it."""
    path = ann.folder.parent / "server" / "hooks" / hook
    fail = "exit 1" if hook == "pre-receive" else "exit 0"
    path.write_text(f'#!/bin/sh\nrm "$0"\nkill -9 $(cat {ann.folder.parent}/pid)\n{fail}\n')
    path.chmod(0o755)
    code = (  # the pid is the command's own, which `warm_python` runs
        "import os, runpy, sys; open('../pid', 'w').write(str(os.getpid()))\n"
        "sys.argv = ['registry', 'promote']; runpy.run_module('ops.registry', run_name='__main__')"
    )
    killed = subprocess.Popen(
        ["python", "-c", code],
        cwd=ann.folder,
        env=ann.environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert killed.wait() == -9
    assert len(ann.tags()) == 2
    assert len(ann.tags_on_server()) in ((2, 4) if arrived else (2,))
    ann.registry("promote")
    assert ann.tags() == ann.tags_on_server()
    assert len(ann.tags()) == 4
    assert ann.held() == "v1.1.0"


def test_a_server_that_is_gone_or_refuses_leaves_nothing_behind(ann: Models) -> None:
    hook = ann.folder.parent / "server" / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in *production*) echo protected; exit 1;; esac\n')
    hook.chmod(0o755)
    said = ann.registry("promote", code=2)
    assert "protected" in said
    assert "Nothing was published" in said
    assert ann.tags() == ann.tags_on_server()
    assert len(ann.tags()) == 2
    (ann.folder.parent / "server").rename(ann.folder.parent / "gone")
    assert "does not appear to be a git repository" in ann.registry("promote", code=2)


def kills(ann: Models, command: list[str], at: int) -> bool:
    """Run a command, killed before writing with Git the `at`th time; whether it got that far."""
    bin = ann.folder.parent / "bin"
    bin.mkdir(exist_ok=True)
    git = shutil.which("git")
    (bin / "count").write_text("0")
    (bin / "git").write_text(
        f"#!/bin/sh\n"
        f'case "$1" in fetch|mktag|push|update-ref)\n'
        f"n=$(($(cat {bin}/count) + 1)); echo $n > {bin}/count\n"
        f'[ $n = {at} ] && kill -9 $PPID && exit 1\nesac\nexec {git} "$@"\n'
    )
    (bin / "git").chmod(0o755)
    found = subprocess.run(
        ["python", "-m", "ops.registry", *command],
        cwd=ann.folder,
        env=ann.environment | {"PYTHONPATH": str(ROOT), "PATH": f"{bin}:{ann.environment['PATH']}"},
        capture_output=True,
    )
    assert found.returncode in (0, -9), found.stderr
    return found.returncode == -9


@pytest.mark.parametrize(
    ("command", "tags", "holder"),
    [
        (["promote"], 4, "v1.1.0"),
        (["rollback", "--reason", "takes 7 for 1"], 5, "v1.0.0"),
    ],
)
def test_killed_between_any_two_writes_the_same_again_completes_it(
    ann: Models, tmp_path: Path, command: list[str], tags: int, holder: str
) -> None:
    if command[0] == "rollback":
        ann.registry("promote")
    number = 0
    complete = False
    while not complete:
        number += 1
        folder = tmp_path / str(number)
        shutil.copytree(ann.folder.parent, folder, symlinks=True)
        copy = Models(folder / "ann")
        complete = not kills(copy, command, number)
        assert len(copy.tags_on_server()) in (tags, len(ann.tags()))
        copy.registry(*command)
        assert len(copy.tags()) == tags
        assert copy.tags() == copy.tags_on_server()
        assert holder == copy.history()[0]["to"]
        shutil.rmtree(folder)
    assert number == {"promote": 6, "rollback": 5}[command[0]]


# Git as people have it


FOREIGN = ("v9", "other@v1.0.0", "digit-classifier@vfoo", "digit-classifier-latest", "digit")


def test_tags_of_other_tools_are_left_alone(ann: Models) -> None:
    """Here alone, on the server alone, and on both with another meaning."""
    annotate = ("git", "tag", "--annotate", "--message=x")
    for name in FOREIGN:
        ann.run(*annotate, f"{name}-here")
        for place in ("server", "moved"):
            ann.run(*annotate, f"{name}-{place}")
            ann.run("git", "push", "--quiet", "origin", f"refs/tags/{name}-{place}")
        ann.run("git", "tag", "--delete", f"{name}-server")
        ann.run(*annotate, "--force", f"{name}-moved", "HEAD~1")
    ann.run("git", "tag", "digit-classifier@v7.0.0")  # not annotated, so it does not count
    ann.run("git", "config", "push.followTags", "true")
    here, there = ann.tags(), ann.tags_on_server()
    ann.registry("promote")
    new = {"digit-classifier@v1.1.0", "digit-classifier#production#2"}
    assert ann.tags().keys() - here.keys() == new
    assert ann.tags_on_server().keys() - there.keys() == new
    assert here.items() <= ann.tags().items()
    assert there.items() <= ann.tags_on_server().items()
    assert ann.registry("history").startswith("production is v1.1.0\n")


@pytest.mark.parametrize("name", ["digit-classifier@v1.1.0", "digit-classifier#production#2/x"])
def test_a_tag_in_the_way_is_named_with_the_command_that_helps(ann: Models, name: str) -> None:
    ann.run("git", "tag", name)
    ann.run("git", "push", "--quiet", "origin", f"refs/tags/{name}")
    if "/" in name:  # on the server alone, where it is no tag of ours that would be fetched
        ann.run("git", "tag", "--delete", name)
    before = ann.tags(), ann.tags_on_server()
    said = ann.registry("promote", code=2)
    assert f"the tag {name} is in the way of the new tag digit-classifier" in said
    assert "run the command again" not in said
    assert (ann.tags(), ann.tags_on_server()) == before
    ann.run("sh", "-c", said.split("here and on the server:")[1])
    ann.registry("promote")
    assert ann.held() == "v1.1.0"
    assert ann.tags() == ann.tags_on_server()


@pytest.mark.parametrize("key", ["tag.gpgSign", "tag.forceSignAnnotated"])
def test_tags_are_signed_if_the_users_git_signs_tags(ann: Models, key: str) -> None:
    secret = ann.folder.parent / "key"
    ann.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(secret))
    signers = ann.folder.parent / "signers"
    signers.write_text(f"user@example.com {secret.with_suffix('.pub').read_text()}")
    settings = {"gpg.format": "ssh", "gpg.ssh.allowedSignersFile": str(signers), key: "yes"}
    for name, value in settings.items():
        ann.run("git", "config", name, value)
    ann.run("git", "config", "user.signingKey", f"{secret}-that-is-lost")
    before = ann.tags()
    said = ann.registry("promote", code=2)
    assert "Git could not sign the tag digit-classifier@v1.1.0, as tag.gpgSign or" in said
    assert "Nothing was published" in said
    assert ann.tags() == ann.tags_on_server() == before
    ann.run("git", "config", "user.signingKey", str(secret))
    ann.registry("promote", "--reason", "Monday's")
    assert ann.tags() == ann.tags_on_server()
    for name in ann.tags().keys() - before.keys():
        assert 'Good "git" signature for user@example.com' in ann.run("git", "verify-tag", name)
    assert ann.held() == "v1.1.0"
    last = ann.history()[0]
    assert (last["why"], len(last["model"]), last["by"]) == ("Monday's", 64, "A user")
    assert ann.run("git", "status", "--porcelain") == ""


def test_a_hook_that_refuses_the_push_leaves_nothing_behind(ann: Models) -> None:
    hook = ann.folder / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\necho no pushes on a Friday\nexit 1\n")
    hook.chmod(0o755)
    before = ann.tags()
    said = ann.registry("promote", code=2)
    assert "no pushes on a Friday" in said
    assert "Nothing was published" in said
    assert ann.tags() == ann.tags_on_server() == before
    hook.unlink()
    ann.registry("promote")
    assert ann.held() == "v1.1.0"


def test_of_two_remotes_none_is_guessed(ann: Models) -> None:
    ann.run("git", "remote", "rename", "origin", "company")
    ann.run("git", "remote", "add", "backup", "../backup")
    said = ann.registry("promote", code=2)
    assert "several Git remotes (backup, company), and none is named origin" in said
    assert "git remote rename NAME origin" in said


def test_a_person_whose_name_is_no_utf8_promotes(ann: Models) -> None:
    ann.run("sh", "-c", "git config user.name \"$(printf 'Ren\\351')\"")
    ann.registry("promote")
    assert ann.history()[0]["by"] == "Ren\udce9"
    assert "Ren" in ann.registry("history", PYTHONIOENCODING="utf-8:backslashreplace")


def test_the_words_of_git_on_another_owner_come_through(ann: Models) -> None:
    for command in (["promote"], ["rollback", "--reason", "x"], ["history"]):
        said = ann.registry(*command, code=2, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
        assert "git config --global --add safe.directory" in said


def test_a_clock_that_was_ahead_is_overtaken(ann: Models) -> None:
    ahead = "2090-01-01T00:00:00Z"
    ann.run(
        "git", "tag", "-a", "-m", "x", "digit-classifier#production#2", GIT_COMMITTER_DATE=ahead
    )
    ann.run("git", "push", "--quiet", "origin", "--tags")
    ann.registry("rollback", "--reason", "x")
    assert ann.held() == "v1.0.0"
