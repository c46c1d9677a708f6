"""The steps of GitHub's workflows and of GitLab's jobs for what was merged, as they stand there.

Git's server is a bare repository, DVC's remote and the place that models are deployed to are
buckets of an S3 server, and GitHub's API is a server that answers as it does.
"""

import json
import re
import shutil
import urllib.request
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from digits.model import self_test
from digits.storage import model_store
from tests.helpers import gitlab_jobs, s3, workflows
from tests.helpers.git_hosts import TOKEN, GitHub, GitLab
from tests.helpers.project import Project
from tests.helpers.workflows import FOLDER, GOOD, Runner, repro

pytestmark = pytest.mark.slow(100)

PROMOTED = "inputs.version && 'production' || 'staging'"
DEPLOYED = "inputs.stage || contains(github.ref_name, '#production#') && 'production' || 'staging'"
# A source that grows: as many test images as this says.
GROWING = """
def grown(raw: Raw) -> Raw:
    import os
    from dataclasses import replace

    return replace(raw, test=raw.test.take(np.arange(int(os.environ["SCANS"]))))


all_of_uci = uci
uci = lambda: grown(all_of_uci())
"""


class Shop:
    """A server of Git's; ann is the clone of a person who works with it."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.ann = Project(folder / "ann")
        self.ann.environment |= s3.CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint, "SCANS": "500"}
        self.expressions = {
            "github.actor": "octocat",
            "github.token": TOKEN,
            "inputs.version": "",
            "secrets.DVC_AWS_ACCESS_KEY_ID": "test",
            "secrets.DVC_AWS_SECRET_ACCESS_KEY": "test",
            "secrets.SLACK_WEBHOOK_URL": "",
            "vars.DVC_AWS_ENDPOINT_URL": endpoint,
            "vars.DIGITS_S3_SSE": "AES256",
            "vars.DIGITS_S3_SSE_KMS_KEY": "",
            "vars.DVC_AWS_REGION || 'us-east-1'": "us-east-1",
        }

    def machine(self, workflow: str, **environment: str) -> Runner:
        """A machine that has checked main out, as actions/checkout does."""
        folder = self.folder / f"{workflow}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        project = Project(folder / "checkout")
        self.ann.run("git", "clone", "--quiet", "../server", str(project.folder))
        environment = {"SCANS": "500", **environment}
        job = workflows.job(workflow)
        return Runner(job, project, folder / "temp", self.expressions, environment)

    def promote(self, version: str = "") -> Runner:
        stage = "production" if version else "staging"
        machine = self.machine("promote")
        outcomes = machine.run(**{PROMOTED: stage, "inputs.version": version})
        assert set(outcomes.values()) == {"success"}, machine.log
        return machine

    def deploy(self, url: str, stage: str) -> str:
        machine = self.machine("deploy")
        outcomes = machine.run(**{DEPLOYED: stage, "vars.DEPLOY_URL": url})
        assert set(outcomes.values()) == {"success"}, machine.log
        return machine.log

    def on_gitlab(self, name: str, code: int = 0, **variables: str) -> tuple[Project, str]:
        """Run a job of GitLab's. Returns its checkout, and what it printed."""
        folder = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        checkout = Project(folder / "checkout")
        server = self.folder / "server.git"
        if not server.exists():
            server.symlink_to("server")
        self.ann.run("git", "clone", "--quiet", str(server), str(checkout.folder))
        checkout.run("git", "checkout", "--quiet", "--detach", "origin/main")
        checkout.run("git", "branch", "--quiet", "--delete", "main")
        checkout.environment = self.ann.environment
        fixed = {
            "CI_PROJECT_URL": f"file://{self.folder}/server",
            "CI_DEFAULT_BRANCH": "main",
            "CI_COMMIT_BRANCH": "main",
            "GITLAB_USER_NAME": "Tanuki",
            "GITLAB_USER_EMAIL": "tanuki@gitlab.example",
            "GITLAB_TOKEN": TOKEN,
        }
        done = gitlab_jobs.run_gitlab_job(
            name, checkout.folder, checkout.environment | fixed | variables
        )
        assert done.returncode == code, done.stdout
        return checkout, done.stdout

    def registry(self, *words: str, code: int = 0) -> str:
        return self.ann.run("python", "-m", "ops.registry", *words, code=code)

    def on_server(self, kind: str) -> list[str]:
        """The names of the server's tags, or heads."""
        lines = self.ann.run("git", "ls-remote", "--refs", f"--{kind}", "origin").splitlines()
        return [line.partition(f"refs/{kind}/")[2] for line in lines]


@pytest.fixture(scope="module")
def made(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """main has a model; the branch `two` another one, of another evaluator; both are pushed."""
    folder = tmp_path_factory.mktemp("shop")
    urllib.request.urlopen(urllib.request.Request(f"{moto}/dvc", method="PUT")).close()
    Project.scratch(folder / "ann")
    shop = Shop(folder, moto)
    shop.ann.run("git", "init", "--quiet", "--bare", "--initial-branch=main", "../server")
    shop.ann.run("git", "remote", "add", "origin", "../server")
    shop.ann.run("dvc", "remote", "add", "--force", "--default", "storage", "s3://dvc/pipeline")
    append(shop.ann, "digits/data/sources.py", GROWING)
    repro(shop.ann, GOOD)
    shop.ann.run("git", "checkout", "--quiet", "-b", "two")
    append(shop.ann, "digits/evaluation/metrics.py", "# Measures as before.\n")
    repro(shop.ann, {"model.channels": [8, 24, 24]})
    shop.ann.run("dvc", "push", "--all-branches")
    shop.ann.run("git", "push", "--quiet", "--set-upstream", "origin", "main", "two")
    return shop


@pytest.fixture
def shop(made: Shop, s3_proxy: s3.Proxy, tmp_path: Path) -> Shop:
    """A copy, with main checked out."""
    shutil.copytree(made.folder, tmp_path / "shop", symlinks=True)
    found = Shop(tmp_path / "shop", s3_proxy.url)
    found.ann.run("git", "checkout", "--quiet", "main")
    found.ann.run("dvc", "checkout", "--quiet", "--force")
    return found


def append(project: Project, name: str, text: str) -> None:
    with (project.folder / name).open("a") as file:
        file.write(f"\n{text}")


def served(url: str, stage: str, folder: Path) -> str:
    """The version that a server would load, which answers as it should."""
    pointer = model_store.read_pointer(url, stage)
    assert pointer is not None
    model_store.fetch_model(url, pointer.model, folder)
    self_test.check(folder)
    return pointer.version


def test_a_merge_becomes_a_version_that_staging_serves(
    shop: Shop, bucket: str, tmp_path: Path
) -> None:
    machine = shop.promote()
    tags = ["digit-classifier#staging#1", "digit-classifier@v1.0.0"]
    assert shop.on_server("tags") == tags
    shop.ann.run("git", "fetch", "--quiet", "--tags")
    text = shop.ann.run("git", "cat-file", "tag", tags[0])
    assert "\ntagger octocat <octocat@users.noreply.github.com> " in text
    shop.deploy(bucket, "staging")
    assert served(bucket, "staging", tmp_path / "model") == "v1.0.0"
    assert model_store.read_pointer(bucket, "production") is None

    fill = "printf 'protocol=https\nhost=github.com\n\n' | git credential fill"
    said = machine.project.run("sh", "-c", fill, GITHUB_TOKEN=TOKEN)
    assert f"password={TOKEN}\n" in said
    assert TOKEN not in (machine.project.folder / ".git" / "config").read_text()

    assert "staging is v1.0.0 already" in shop.promote().log
    assert "staging still serves v1.0.0" in shop.deploy(bucket, "staging")
    assert shop.on_server("tags") == tags


def test_a_version_takes_production_by_hand_and_a_rollback_leaves_it(
    shop: Shop, bucket: str, tmp_path: Path
) -> None:
    """The second one has another evaluator than the first, and main has gone on since."""
    shop.on_gitlab("promote-to-staging")
    shop.promote("1.0.0")
    shop.ann.run("git", "push", "--quiet", "origin", "two:main")
    shop.promote()
    shop.ann.run("git", "checkout", "--quiet", "two")
    append(shop.ann, "digits/evaluation/metrics.py", "# And again.\n")
    shop.ann.commit("not reproduced yet")
    shop.ann.run("git", "push", "--quiet", "origin", "two:main")
    _, log = shop.on_gitlab("promote-to-production", VERSION="v1.1.0")
    assert "against production (v1.0.0) (this evaluator)" in log
    assert "against production (v1.0.0) (its evaluator)" in log
    shop.on_gitlab("deploy-to-production", DEPLOY_URL=bucket)
    assert served(bucket, "production", tmp_path / "model") == "v1.1.0"

    shop.registry("rollback", "--reason", "takes 7 for 1")
    shop.deploy(bucket, "production")
    assert served(bucket, "production", tmp_path / "model") == "v1.0.0"


def test_promotion_scores_both_models_where_the_evaluator_is_another(shop: Shop) -> None:
    shop.registry("promote")
    shop.ann.run("git", "checkout", "--quiet", "two")
    shop.ann.run("dvc", "checkout", "--quiet", "--force")
    before = shop.on_server("tags")
    said = shop.registry("promote", code=2)
    assert "production (v1.0.0) was evaluated with different code or data" in said
    assert "(digits/evaluation/metrics.py)" in said
    assert "Score both models with both evaluators: --base-model" in said
    repro(shop.ann, {"train.epochs": 1, "train.optimizer.lr": 0.003})
    shop.ann.run("dvc", "push")
    shop.ann.run("git", "push", "--quiet", "origin", "two")
    said = shop.registry("promote", "--base-model", code=1)
    assert "against production (v1.0.0) (its evaluator), test images: " in said
    assert "not promoted" in said
    assert shop.on_server("tags") == before
    shop.ann.run("git", "checkout", "--quiet", "two~1")
    shop.ann.run("dvc", "checkout", "--quiet", "--force")
    said = shop.registry("promote", "--base-model")
    assert (
        "no loss shown against production (v1.0.0) (this evaluator), no loss shown against" in said
    )
    assert "production is v1.1.0 now" in said


def test_only_what_was_merged_takes_production(shop: Shop) -> None:
    shop.ann.run("git", "checkout", "--quiet", "two")
    shop.registry("promote", "--stage", "staging")
    before = shop.on_server("tags")
    for version, why in (("1.0.0", "that version is not on main"), ("9.9.9", "Needed a single")):
        machine = shop.machine("promote")
        outcomes = machine.run(**{PROMOTED: "production", "inputs.version": version})
        assert outcomes == {"Check the version out": "failure", "Promote": "skipped"}
        assert why in machine.log
    shop.on_gitlab("promote-to-production", code=1, VERSION="1.0.0")
    assert shop.on_server("tags") == before


def test_a_model_that_is_not_in_the_remote_is_not_promoted(shop: Shop) -> None:
    shop.ann.run("dvc", "remote", "modify", "storage", "url", "s3://dvc/empty")
    shop.ann.commit("another place")
    shop.ann.run("git", "push", "--quiet", "origin", "main")
    machine = shop.machine("promote")
    assert machine.run(**{PROMOTED: "staging"})["Promote"] == "failure"
    assert "models/digit-classifier is missing or damaged in dvc/empty" in machine.log
    assert "Is it missing? dvc push" in machine.log
    assert shop.on_server("tags") == []


def test_retraining_proposes_what_new_data_gave(shop: Shop, github: GitHub, gitlab: GitLab) -> None:
    machine = shop.machine("retrain", **github.environment, GITHUB_REF_NAME="main")
    assert machine.run() == {"Retrain": "success"}, machine.log
    assert "Running stage 'fetch'" in machine.log
    assert "Running stage 'prepare'" not in machine.log
    assert "nothing has changed" in machine.log
    assert github.at("pulls") == []
    assert shop.on_server("heads") == ["main", "two"]

    there = {"CI_API_V4_URL": gitlab.url, "CI_PROJECT_ID": "7", "SCANS": "597"}
    checkout, _ = shop.on_gitlab("retrain", **there)
    [request] = gitlab.at("merge_requests")
    assert (request["source_branch"], request["target_branch"]) == ("retrain", "main")
    report = (checkout.folder / "comparison" / "report.md").read_text()
    assert request["description"] == report
    assert "no loss shown against origin/main (its evaluator)" in report
    other = Project(shop.folder / "other")
    shop.ann.run("git", "clone", "--quiet", "--branch", "retrain", "../server", str(other.folder))
    assert other.run("git", "rev-parse", "HEAD~1") == other.run("git", "rev-parse", "origin/main")
    assert "Tanuki" in other.run("git", "log", "-1", "--format=%an")
    other.environment = shop.ann.environment
    other.run("dvc", "pull")
    scores = json.loads((other.folder / "metrics" / "evaluation.json").read_text())
    assert scores["images"] == 597


def test_a_failed_run_has_one_issue(shop: Shop, github: GitHub) -> None:
    run = {"head_branch": "main", "head_sha": "c" * 40, "run_attempt": 1, "html_url": "there"}
    event = shop.folder / "event.json"
    event.write_text(json.dumps({"workflow": {"name": "Retrain"}, "workflow_run": run}))
    machine = shop.machine("notify", GITHUB_EVENT_PATH=str(event), **github.environment)
    hook = {"secrets.SLACK_WEBHOOK_URL": f"{github.url}/hook"}
    assert machine.run() == {"Report": "success"}, machine.log
    assert machine.run(**hook) == {"Report": "success"}, machine.log
    [issue] = github.at("issues")
    assert issue["title"] == "Retrain fails"
    assert len(github.at(f"issues/{issue['number']}/comments")) == 1
    assert len(github.lists["/hook"]) == 1


# What the files say of each other


def test_failures_are_told_of_the_workflows_that_there_are() -> None:
    told = workflows.load("notify.yml")[True]["workflow_run"]["workflows"]  # YAML reads on as true
    assert told == [
        workflows.load(f"{name}.yml")["name"]
        for name in ("promote", "deploy", "retrain", "predict")
    ]


def test_a_stage_tag_starts_a_deployment_and_no_other_does() -> None:
    patterns = workflows.load("deploy.yml")[True]["push"]["tags"]

    def starts(tag: str) -> bool:
        return any(fnmatchcase(tag, pattern) for pattern in patterns)

    assert starts("digit-classifier#production#12")
    assert starts("digit-classifier#staging#1")
    assert not starts("digit-classifier@v1.0.0")
    assert not starts("digit-classifier#production!#12")


def test_the_shell_is_the_one_that_the_steps_are_tried_in() -> None:
    for path in FOLDER.glob("*.yml"):
        if path.name != "ci.yml":  # its steps are targets of make
            assert workflows.load(path.name)["defaults"] == {"run": {"shell": "bash"}}


def test_an_action_is_the_same_commit_everywhere() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("*.yml"))
    uses = set(re.findall(r"uses: (?!\./)(.+)", text))
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", found) for found in uses)
    assert len({found.partition("@")[0] for found in uses}) == len(uses)
