"""The steps of site.yml, and GitLab's job, as they stand there; the server is a bare repository."""

import shutil
from pathlib import Path

import pytest

from tests.helpers import gitlab_jobs, workflows
from tests.helpers.metrics_files import metrics_files
from tests.helpers.project import Project
from tests.helpers.small import ROOT
from tests.helpers.workflows import Runner

pytestmark = pytest.mark.slow(20)

EXPRESSIONS = {
    "github.token": "the token",
    "secrets.DVC_AWS_ACCESS_KEY_ID": "",
    "secrets.DVC_AWS_SECRET_ACCESS_KEY": "",
    "vars.DVC_AWS_ENDPOINT_URL": "",
    "vars.DVC_AWS_REGION || 'us-east-1'": "us-east-1",
}


def test_main_is_published_with_experiments_and_without_images_that_are_not_there(
    tmp_path: Path,
) -> None:
    home = Project.scratch(tmp_path / "home")
    shutil.copy2(ROOT / "dvc.lock", home.folder)
    shutil.copytree(ROOT / "metrics", home.folder / "metrics")
    home.commit("results")
    for name, content in metrics_files([3, 14]).items():
        (home.folder / "metrics" / name).write_bytes(content)
    base = home.run("git", "rev-parse", "HEAD").strip()
    tree = home.run("git", "stash", "create").strip()
    experiment = home.run("git", "commit-tree", f"{tree}^{{tree}}", "-p", base, "-m", "x").strip()
    home.run("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/brave-newt", experiment)
    home.run("git", "reset", "--quiet", "--hard")
    home.run("git", "init", "--quiet", "--bare", "--initial-branch=main", "../server")
    home.run("git", "push", "--quiet", "../server", "main", "refs/exps/*:refs/exps/*")

    machine = Project(tmp_path / "checkout")
    home.run("git", "clone", "--quiet", "../server", str(machine.folder))
    runner = Runner(workflows.job("site"), machine, tmp_path / "temp", EXPRESSIONS)
    assert set(runner.run().values()) == {"success"}, runner.log

    site = runner.temp / "site"
    assert "the pages show no images" in runner.log
    assert base[:7] in (site / "index.html").read_text()
    assert "brave-newt" in (site / "runs.html").read_text()

    machine.run("git", "update-ref", "-d", f"refs/exps/{base[:2]}/{base[2:]}/brave-newt")
    there = machine.environment | {"CI_DEFAULT_BRANCH": "main"}
    done = gitlab_jobs.run_gitlab_job("pages", machine.folder, there)
    assert done.returncode == 0, done.stdout
    assert "the pages show no digits" in done.stdout
    [public] = gitlab_jobs.gitlab_job("pages")["artifacts"]["paths"]
    assert "brave-newt" in (machine.folder / public / "runs.html").read_text()
