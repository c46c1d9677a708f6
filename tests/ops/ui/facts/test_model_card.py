"""A model card as part of a page: Markdown of a commit, of which nothing becomes markup."""

import pytest

from ops.ui.facts import model_card


def test_the_title_goes_and_the_headings_are_below_the_sections() -> None:
    html = model_card.render("# Model card\n\n## Use\n\n### More\n\n###### Last\n", "x", [])
    assert html == "<h3>Use</h3>\n<h4>More</h4>\n<h6>Last</h6>\n"


def test_the_head_of_a_table_names_columns_and_an_empty_one_is_left_out() -> None:
    html = model_card.render("| a | b |\n| --- | --- |\n| 1 | 2 |\n", "x", [])
    assert html.count('<th scope="col">') == 2
    html = model_card.render("|  |  |\n| --- | --- |\n| 1 | 2 |\n", "x", [])
    assert "<th" not in html
    assert '<table class="words">' in html


def test_only_pictures_that_are_there_are_shown() -> None:
    card = "![a](plots/a.png) ![b](plots/b.png) ![c](https://example.com/c.png) ![d](../d.png)"
    assert model_card.pictures(card) == ["plots/a.png", "plots/b.png"]
    html = model_card.render(card, "v1", ["plots/a.png"])
    assert html == '<p><img src="v1/plots/a.png" alt="a" loading="lazy" /> b c d</p>\n'


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[x](javascript:alert(1))",
        '![" onerror="alert(1)](plots/a.png)',
        "| <script> |\n| --- |\n| <iframe> |\n",
    ],
)
def test_nothing_in_a_card_becomes_markup(text: str) -> None:
    html = model_card.render(text, "v1", ["plots/a.png"])
    assert not any(tag in html for tag in ("<script", "<iframe", "<img src=x", "<a href"))
    assert ' onerror="' not in html
