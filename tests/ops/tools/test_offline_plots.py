"""The page of `dvc plots`, in a real browser without a network."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.project import Project
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(5)

MAKE_PAGE = ("python", "-m", "ops.tools.offline_plots")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository of DVC with one plot; the command is this checkout's."""
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder)
    project.environment["PYTHONPATH"] = str(ROOT)
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    (folder / "curve.csv").write_text("epoch,loss\n1,0.9\n2,0.4\n")
    (folder / "dvc.yaml").write_text("plots: [{curve.csv: {x: epoch, y: loss}}]\n")
    return project


def test_a_plot_is_drawn_without_a_network(project: Project, browser: Any) -> None:
    project.run(*MAKE_PAGE)
    project.run("dvc", "plots", "show")
    context = browser.new_context(offline=True)
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((project.folder / "dvc_plots" / "index.html").as_uri())
    page.locator("canvas, svg.marks").first.wait_for()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_a_page_of_ones_own_stays_configured(project: Project) -> None:
    project.run("dvc", "config", "plots.html_template", "mine.html")
    project.run(*MAKE_PAGE)
    assert project.run("dvc", "config", "plots.html_template").strip() == "mine.html"
