"""The page in a real browser: drawn on, given files, used by keyboard; and it keeps to itself."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from digits.data.dataset import Raw
from serving import middleware
from tests.helpers import digit_reader
from tests.helpers.deployments import ONE, TWO, deploy
from tests.helpers.pages import least_contrast
from tests.helpers.proxy import prefix_proxy
from tests.helpers.servers import Server, image_file, serve
from tests.helpers.strokes import STROKES, Stroke

pytestmark = pytest.mark.slow(15)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def reader(uci: Raw, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that reads what is drawn."""
    folder = tmp_path_factory.mktemp("reader")
    with serve(digit_reader.write_folder(folder / "model", uci), folder) as found:
        yield found


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a server's page; at the end, the page must have had no reason to complain."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(server: Server, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        requests: list[str] = []
        page.goto(server.url)
        expect(page.locator("#version")).not_to_have_text("…")
        assert all(url.startswith((server.url, "data:", "blob:")) for url in requests)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def draw(page: Page, strokes: list[Stroke], size: float = 1.0) -> None:
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    for stroke in strokes:
        points = [
            (
                box["x"] + box["width"] * (0.5 + size * (x - 0.5)),
                box["y"] + box["height"] * (0.5 + size * (y - 0.5)),
            )
            for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def settle(page: Page) -> str:
    """What is read once all requests are answered."""
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    return page.locator("#best").inner_text()


def test_what_is_drawn_is_read(reader: Server, open_page: Open) -> None:
    page = open_page(reader)
    found = {}
    for digit, strokes in STROKES.items():
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#best")).to_be_empty()
        draw(page, strokes)
        found[digit] = settle(page)
    assert sum(digit == read for digit, read in found.items()) >= 9, found


def test_the_probabilities_move_while_it_is_drawn(reader: Server, open_page: Open) -> None:
    page = open_page(reader)
    [first, *rest] = STROKES["3"][0]
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    seen = set()
    page.mouse.move(box["x"] + box["width"] * first[0], box["y"] + box["height"] * first[1])
    page.mouse.down()
    for x, y in rest:
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        settle(page)
        seen.add(
            page.evaluate("[...document.querySelectorAll('li')].map(i => i.style.cssText).join()")
        )
    page.mouse.up()
    assert len(seen) > len(rest) / 2


def test_a_finger_draws_and_does_not_scroll(reader: Server, open_page: Open) -> None:
    page = open_page(reader, has_touch=True, is_mobile=True, viewport={"width": 360, "height": 640})
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    points = [
        (box["x"] + box["width"] * 0.5, box["y"] + box["height"] * y) for y in (0.2, 0.5, 0.8)
    ]
    for kind, point in zip(("touchStart", "touchMove", "touchMove"), points, strict=True):
        touch = {"x": point[0], "y": point[1]}
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [touch]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert settle(page) == "1"
    assert page.evaluate("scrollY") == 0


def test_all_of_it_works_by_keyboard(reader: Server, open_page: Open) -> None:
    page = open_page(reader)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "sheet"
    for key in (*["ArrowUp"] * 13, "Space", *["ArrowDown"] * 26, "Space", "ArrowLeft"):
        page.keyboard.press(key)
    assert settle(page) == "1"
    expect(page.get_by_role("status")).to_contain_text("1, ")  # what a screen reader says
    page.keyboard.press("z")
    expect(page.locator("#best")).to_be_empty()
    page.keyboard.press("Space")
    settle(page)
    page.keyboard.press("Escape")
    expect(page.locator("#best")).to_be_empty()
    for name in ("Clear", "Undo", "Choose an image"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == name


def seven() -> bytes:
    found = np.full((300, 300), 255, np.uint8)
    found[60:80, 90:210] = 0
    for i in range(170):
        x = 200 - i // 2
        found[70 + i, x - 10 : x + 10] = 0
    return image_file(found)


def test_an_image_is_chosen_dropped_or_pasted(
    reader: Server, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(reader)
    (tmp_path / "seven.png").write_bytes(seven())
    page.set_input_files("#file", tmp_path / "seven.png")
    expect(page.locator("#best")).to_have_text("7")
    give = """([event, field, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], 'seven.png', {type: 'image/png'}));
      const Kind = event === 'drop' ? DragEvent : ClipboardEvent;
      dispatchEvent(new Kind(event, {[field]: transfer}));
    }"""
    for event, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#best")).to_be_empty()
        page.evaluate(give, [event, field, list(seven())])
        expect(page.locator("#best")).to_have_text("7")


def test_what_can_not_be_read_is_said_why(reader: Server, open_page: Open) -> None:
    page = open_page(reader)
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"text"})
    expect(page.locator("#sure")).to_contain_text("this is not an image")
    draw(page, STROKES["1"])
    assert settle(page) == "1"


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_it_fits_and_is_legible(reader: Server, open_page: Open, width: int) -> None:
    page = open_page(reader, viewport={"width": width, "height": 740})
    page.locator("summary").click()
    for drawn in (False, True):
        if drawn:
            draw(page, STROKES["5"])
            settle(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert least_contrast(page) >= 4.5
    assert page.locator("h1").count() == page.locator("main").count() == 1
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), canvas')]"
        ".filter(e => !e.closest('[aria-hidden]'))"
        ".filter(e => !(e.innerText || e.ariaLabel || e.labels?.length)).length"
    )
    assert unnamed == 0


def test_the_version_that_answers_is_shown_when_it_changes(open_page: Open, tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    deploy(url, ONE)
    with serve(url, tmp_path, "--poll", "0.05") as server:
        page = open_page(server)
        expect(page.locator("#version")).to_contain_text("v1.1.0")
        deploy(url, TWO, 2)
        draw(page, STROKES["1"])
        for _ in range(100):
            draw(page, [[(0.3, 0.3), (0.4, 0.4)]])
            if "v1.2.0" in page.locator("#version").inner_text():
                break
        expect(page.locator("#version")).to_contain_text("v1.2.0")


def test_a_token_is_asked_for_once(browser: Browser, model_folder: Path, tmp_path: Path) -> None:
    token = "a-token-of-some-length"
    with serve(model_folder, tmp_path, **{middleware.TOKEN: token}) as server:
        page = browser.new_page()
        page.goto(server.url)
        for given in ("another-token-of-some-length", token):
            page.get_by_label("This server requires a token").fill(given)
            page.get_by_role("button", name="Continue").click()
        expect(page.locator("#version")).not_to_have_text("…")
        draw(page, STROKES["1"])
        expect(page.locator("#best")).not_to_be_empty()
        page.reload()
        expect(page.locator("#version")).not_to_have_text("…")
        page.context.close()


def test_it_works_behind_a_proxy_with_a_prefix(
    open_page: Open, model_folder: Path, tmp_path: Path
) -> None:
    with (
        serve(model_folder, tmp_path, "--root-path", "/digits") as server,
        prefix_proxy(server.address, "/digits", removes_prefix=True) as url,
    ):
        page = open_page(replace(server, url=f"{url}/digits"))
        draw(page, STROKES["1"])
        expect(page.locator("#best")).not_to_be_empty()
        page.locator("summary").click()
        for example in ("#curl", "#json"):
            expect(page.locator(example)).to_contain_text(f"{url}/digits/predict")
        page.get_by_role("link", name="openapi.json").click()
        assert page.url == f"{url}/digits/openapi.json"


def test_a_server_that_is_gone_is_told(open_page: Open, model_folder: Path, tmp_path: Path) -> None:
    with serve(model_folder, tmp_path) as server:
        page = open_page(server)
    draw(page, STROKES["1"])
    expect(page.locator("#sure")).to_have_text("The server does not answer.")
