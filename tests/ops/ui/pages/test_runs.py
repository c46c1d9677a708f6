"""The pages of the runs as files, in a real browser without a network; with hostile content."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from digits.gate.seed_spread import mean_margin
from ops.ui.pages import runs
from ops.ui.project import Project
from tests.helpers.pages import least_contrast
from tests.helpers.run_history import SIZE, RunHistory

pytestmark = pytest.mark.slow(8)

EVIL = "</script><img src=x onerror=alert(1)><!-- &amp; {{ 7 * 7 }}"
EVIL_NAME = "\"><b>&lt;'$(id);alert(1)"
NONE = "\N{EN DASH}"
SEEDS = {1: [1, 2], 2: [1, 2, 3], 3: [1, 2, 3, 4]}


@dataclass(frozen=True)
class Site:
    folder: Path
    keys: dict[str, str]  # the names of pages, by what a test calls the run
    page: Any

    def open(self, path: str) -> Any:
        self.page.goto("about:blank")  # the address may differ in what comes after # only
        self.page.goto((self.folder / "x").as_uri()[:-1] + path)
        return self.page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Site]:
    made = RunHistory.create(tmp_path_factory.mktemp("runs") / "project")
    commits = {"base": made.commit("base", [1, 2, 3])}
    made.write("metrics/evaluation.json", "[")
    commits["broken"] = made.commit("broken")
    made.run("git", "config", "user.name", EVIL)
    commits["evil"] = made.commit(EVIL, [2, 3, 14], note=EVIL, **{EVIL: 1})
    commits["evil experiment"] = made.experiment(EVIL_NAME, [14, 15], note=EVIL_NAME)
    for seed, wrong in SEEDS.items():
        commits[f"seed {seed}"] = made.experiment(f"fast-{seed}", wrong, lr=0.4, seed=seed)
    made.run("python", "-m", "ops.ui", "--site", "site", PYTHONPATH=str(Path.cwd()))
    context = browser.new_context(offline=True)
    page = context.new_page()
    faults: list[str] = []
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    yield Site(made.folder / "site", {name: hash[:12] for name, hash in commits.items()}, page)
    context.close()
    assert faults == []


def names(page: Any) -> list[str]:
    return [
        row.inner_text()
        for row in page.locator("#runs tbody tr:not([hidden]) th > :nth-child(2)").all()
    ]


def test_hostile_texts_are_shown_as_texts(site: Site) -> None:
    for key in site.keys.values():
        page = site.open(f"runs/{key}.html")
        assert page.locator("main img, main b b, main script").count() == 0
    assert EVIL in site.open(f"runs/{site.keys['evil']}.html").inner_text("main")
    page = site.open(f"runs/{site.keys['evil experiment']}.html")
    assert page.inner_text("h1") == EVIL_NAME
    assert "dvc exp apply '\"><b>&lt;'\"'\"'$(id);alert(1)'" in page.inner_text("main")
    page = site.open("runs.html")
    assert page.locator("main img, main b, main script:not([type='application/json'])").count() == 0
    assert EVIL_NAME in names(page)
    assert EVIL in page.inner_text("#runs")
    page = site.open(f"compare.html#{site.keys['evil']},{site.keys['evil experiment']}")
    page.wait_for_selector("#compared section")
    assert page.locator("main img, main script:not([type='application/json'])").count() == 0
    assert EVIL_NAME in page.inner_text("#parameters-that-differ >> xpath=..")
    page.goto(f"{page.url.partition('#')[0]}#{EVIL},<b>")
    page.wait_for_selector("#hint:visible")


def test_the_table_is_sorted_by_key_and_filtered_by_any_value(site: Site) -> None:
    page = site.open("runs.html")
    heads = page.locator("thead th").all_inner_texts()
    assert "lr" in heads
    assert EVIL not in heads, "a parameter of one value, which the other runs lack"
    assert page.inner_text("#count") == f"{len(site.keys)} of {len(site.keys)} runs"
    page.locator("thead button", has_text="errors").press("Enter")
    assert page.locator("th[aria-sort='ascending']").inner_text() == "errors"
    errors = page.locator("#runs tbody td:nth-child(4)").all_inner_texts()
    assert errors == ["2", "2", "3", "3", "3", "4", NONE]
    page.locator("thead button", has_text="errors").click()
    assert page.locator("#runs tbody td:nth-child(4)").all_inner_texts()[0] == "4"
    for text, expected in (
        ("lr=0.4", ["fast-3", "fast-2", "fast-1"]),
        ("errors>=3 lr=0.4", ["fast-3", "fast-2"]),
        (f"train.lr=0.4 accuracy>{100 - 300 / SIZE}%", ["fast-1"]),
        ("FAST-2", ["fast-2"]),
        ("nowhere=1", []),
    ):
        page.fill("#filter", text)
        assert sorted(names(page)) == sorted(expected), text
    assert page.inner_text("#count").endswith("No parameter or metric is called nowhere")
    page.fill("#filter", "kind=experiment")
    page.reload()
    assert len(names(page)) == 4, "the address keeps the filter"


def test_runs_that_differ_in_the_seed_are_one_row_with_an_interval(site: Site) -> None:
    page = site.open("runs.html#view=seeds&filter=lr=0.4")
    assert page.inner_text("#count").startswith("1 of ")
    cells = page.locator("#runs tbody tr:not([hidden]) td").all_inner_texts()
    accuracies = [1 - len(wrong) / SIZE for wrong in SEEDS.values()]
    margin = mean_margin(accuracies)
    assert margin
    assert cells[0] == "3"
    assert cells[1] == f"{100 * sum(accuracies) / 3:.2f} % ± {100 * margin:.2f}"
    page.locator("#runs tbody tr:not([hidden]) input").check()
    assert page.inner_text("#chosen-count") == "3 runs chosen"


def test_runs_of_different_code_are_no_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = RunHistory.create(tmp_path / "project")
    monkeypatch.chdir(made.folder)
    made.commit("seed 0", [1], seed=0)
    made.commit("seed 1", [2], seed=1)
    made.write_run([3], seed=2)
    made.write("dvc.lock", (made.folder / "dvc.lock").read_text().replace("0" * 32, "1" * 32))
    made.commit("other code")
    page = runs.resources(Project(str(tmp_path)))["runs.html"]().decode()
    found = re.search('<script type="application/json" id="data">(.*)</script>', page)
    assert found
    assert [group["runs"] for group in json.loads(found[1])["groups"]] == [[0, 1], [2]]


def test_a_run_whose_metrics_are_broken_says_so(site: Site) -> None:
    page = site.open(f"runs/{site.keys['broken']}.html")
    assert "no verdict" in page.inner_text("main")
    assert "evaluation.json is not JSON" in page.inner_text("main")
    assert "evaluation.json is not JSON" in site.open("runs.html").inner_text("#runs")


def test_two_chosen_runs_show_what_one_fixed_and_broke(site: Site) -> None:
    page = site.open("runs.html")
    for name in (site.keys["base"][:9], "fast-3"):
        page.get_by_label(f"Choose {name}").check()
    page.get_by_role("link", name="Compare").click()
    page.wait_for_selector("#compared section")
    headings = page.locator("#compared h3").all_inner_texts()
    assert "0 fixed: wrong in " in " ".join(headings)
    assert any(re.match("1 broken: wrong in fast-3 only", heading) for heading in headings)
    assert page.locator("#compared figcaption").all_inner_texts() == ["4 read as 5\n90 % · #4"]
    assert page.locator("#compared polyline").count() == 2
    assert page.inner_text("#parameters-that-differ >> xpath=..").count("train.") == 2
    loads = """async element => {
      const [, url] = getComputedStyle(element).backgroundImage.match(/url\\("(.+)"\\)/);
      const image = new Image(); image.src = url; await image.decode(); return image.naturalWidth;
    }"""
    assert page.locator(".digit").evaluate(loads) == 32 * 28


def test_several_runs_show_the_images_that_only_some_get_wrong(site: Site) -> None:
    chosen = [site.keys[f"seed {seed}"] for seed in SEEDS]
    page = site.open(f"compare.html#{','.join(chosen)}")
    page.wait_for_selector("#compared section")
    rows = page.locator(".contest tbody tr").all()
    assert [row.locator("td.bad").all_inner_texts() for row in rows] == [[], ["4"], ["4", "5"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_can_be_read_in_both_schemes_and_on_a_phone(site: Site, scheme: str) -> None:
    site.page.emulate_media(color_scheme=scheme)
    site.page.set_viewport_size({"width": 360, "height": 700})
    pair = f"{site.keys['base']},{site.keys['seed 1']}"
    for path in ("runs.html", f"runs/{site.keys['seed 1']}.html", f"compare.html#{pair}"):
        page = site.open(path)
        page.wait_for_selector("table td")
        assert least_contrast(page) >= 4.5, path
        assert page.evaluate("document.documentElement.scrollWidth") == 360, path
