"""What a report says of data that changed, with their images and without."""

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.data_project import data_project

pytestmark = pytest.mark.slow(8)


def test_a_report_shows_which_images_of_the_data_changed(tmp_path: Path) -> None:
    project = data_project(tmp_path / "project")
    words = ("python", "-m", "ops.report", "--markdown", "report.md", "--html", "report.html")

    def report(base: str) -> tuple[str, str]:
        project.run(*words, "--base", base, code=2)  # there are no metrics, so no verdict
        return tuple((project.folder / f"report.{kind}").read_text() for kind in ("md", "html"))

    markdown, html = report("HEAD~1")
    changed = "1 image added, 1 removed, 1 relabelled, 1 moved to another split"
    assert re.search(rf"The data changed \(from `\w{{9}}` to `\w{{9}}`\): {changed}\.", markdown)
    assert "| relabelled | `train` | `one → <b>nought` | 1 |" in markdown
    assert f"</code>: {changed}." in html
    assert html.count("<img") == 4
    assert "&lt;b&gt;nought" in html
    assert "<b>nought" not in html

    project.run("git", "checkout", "--quiet", "HEAD~1", "dvc.lock")
    markdown, html = report("HEAD~1")
    assert "data changed" not in markdown.lower() + html.lower()
    project.run("git", "checkout", "--quiet", "HEAD", "dvc.lock")

    shutil.rmtree(project.folder / ".dvc" / "cache")
    markdown, html = report("HEAD~1")
    assert "which images is unknown" in markdown
    assert "which images is unknown" in html
    assert "dvc fetch --all-commits data/prepared" in html
