"""ui.js in a real browser, with the real server's events: a page that changes loses nothing."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.ops.ui.conftest import Ui

pytestmark = pytest.mark.slow(15)

MAIN = """<h1>{title}</h1>
<details><summary>More</summary><p>text</p></details>
<div class="scroll" id="wide" style="width: 100px"><p style="width: 900px">wide</p></div>
<label for="filter">Filter</label><input id="filter">
<form><label for="name">Name</label><input id="name"></form>
<p style="height: 3000px"><a href="#main">a link</a></p>
<pre class="command"><code>dvc repro</code></pre>"""

Show = Callable[[str], None]


@pytest.fixture
def page(ui: Ui, browser: Browser) -> Iterator[Page]:
    """A page of a browser that the server has let in."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(ui.server.link)
    yield page
    context.close()


@pytest.fixture
def show(ui: Ui, page: Page) -> Show:
    """Opens a page with a title, or has the server's next one have it, and a commit announce it."""
    titles: list[str] = []
    html = ui.server.ask("/versions.html").body.decode()

    def answer(route: Route) -> None:
        main = MAIN.format(title=titles[-1])
        route.fulfill(
            body=re.sub("(<main[^>]*>).*(</main>)", rf"\1{main}\2", html, flags=re.DOTALL),
            content_type="text/html",
        )

    page.route("**/versions.html", answer)

    def show(title: str) -> None:
        titles.append(title)
        if len(titles) == 1:
            page.goto(f"{ui.server.url}/versions.html")
        else:
            ui.project.run("git", "commit", "--quiet", "--allow-empty", "--message", title)

    return show


def test_a_page_that_is_replaced_keeps_what_its_reader_did(show: Show, page: Page) -> None:
    show("Before")
    page.locator("summary").click()
    page.locator("#filter").fill("lr")
    page.evaluate("document.getElementById('wide').scrollLeft = 200; scrollTo(0, 400)")
    page.locator("a", has_text="a link").evaluate("link => link.focus({preventScroll: true})")
    show("After")
    expect(page.locator("h1")).to_have_text("After")
    assert page.locator("details").get_attribute("open") is not None
    assert page.locator("#filter").input_value() == "lr"
    assert page.evaluate("[document.getElementById('wide').scrollLeft, scrollY]") == [200, 400]
    expect(page.locator("a", has_text="a link")).to_be_focused()
    expect(page.get_by_role("button", name="Copy dvc repro")).to_have_count(1)


def test_what_was_typed_into_a_form_is_not_lost(show: Show, page: Page) -> None:
    show("Before")
    page.locator("#name").fill("my experiment")
    show("After")
    expect(page.locator(".gone")).to_contain_text("has changed")
    expect(page.locator("h1")).to_have_text("Before")
    assert page.locator("#name").input_value() == "my experiment"
    page.locator(".gone button").click()
    expect(page.locator("h1")).to_have_text("After")
    expect(page.locator(".gone")).to_be_hidden()


def test_a_server_that_has_gone_is_noted(show: Show, page: Page) -> None:
    page.route("**/events*", lambda route: route.abort())
    show("Before")
    expect(page.locator(".gone")).to_contain_text("make ui")


def test_a_command_is_copied(show: Show, page: Page) -> None:
    show("Before")
    page.get_by_role("button", name="Copy dvc repro").click()
    expect(page.locator(".command button")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "dvc repro"
