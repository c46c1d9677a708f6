"""A project with a running server, and a browser that it has let in: one for all of a module.

def test_a_page(ui: Ui) -> None:
    ui.page.goto(f"{ui.server.url}/run.html")
    ui.project.run("git", "log")
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.helpers.project import Project
from tests.helpers.small import small_params
from tests.helpers.ui import UiServer, serve_ui


@dataclass(frozen=True)
class Ui:
    """`page` is one of Playwright's; no script of it may fail."""

    project: Project
    server: UiServer
    page: Any


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The checkout with parameters that train in a second; nothing has run. Committed."""
    project = Project.scratch(tmp_path_factory.mktemp("ui") / "project")
    small_params(project.folder)
    project.commit("small")
    return project


def is_fault(message: Any) -> bool:
    """Not an answer that has an error's status, such as a form's that was filled in wrongly."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


@pytest.fixture(scope="module")
def ui(project: Project, browser: Any) -> Iterator[Ui]:
    with serve_ui(project) as server:
        page = browser.new_page()
        errors: list[str] = []
        page.on("console", lambda m: errors.append(m.text) if is_fault(m) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.link)
        yield Ui(project, server, page)
        page.close()
        assert errors == []
