"""Render a model card, which is Markdown of a commit, so that nothing in it becomes markup."""

import re
from collections.abc import Collection, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

PICTURE = re.compile(r"plots/[\w-]+\.png")


def render(card: str, folder: str, present: Collection[str]) -> Markup:
    """Render a card as HTML, without its title.

    Parameters
    ----------
    card : the content of model-card.md
    folder : where the page has the files below metrics/
    present : the pictures that are there, relative to metrics/; any other one becomes its text
    """
    parser = _parser()
    tokens = _without_empty_heads(_without_title(parser.parse(card)))
    for token in tokens:
        _adapt(token)
        for inline in token.children or ():
            _adapt_picture(inline, folder, present)
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def pictures(card: str) -> list[str]:
    """The pictures that a card shows, relative to metrics/."""
    tokens = _parser().parse(card)
    sources = [str(t.attrs["src"]) for token in tokens for t in token.children or () if _shows(t)]
    return sorted(set(filter(PICTURE.fullmatch, sources)))


def _parser() -> MarkdownIt:
    """It takes what looks like a tag for text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _shows(token: Token) -> bool:
    return token.type == "image"


def _adapt(token: Token) -> None:
    """Put headings below the section's, and say that the cells of a head name the columns."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
    elif token.type == "th_open":
        token.attrSet("scope", "col")


def _adapt_picture(token: Token, folder: str, present: Collection[str]) -> None:
    if not _shows(token):
        return
    source = str(token.attrs["src"])
    if source in present:
        token.attrs = {"src": f"{folder}/{source}", "alt": "", "loading": "lazy"}
    else:
        token.type, token.tag, token.nesting = "text", "", 0


def _without_title(tokens: Sequence[Token]) -> list[Token]:
    return list(tokens[3:] if tokens and tokens[0].tag == "h1" else tokens)


def _without_empty_heads(tokens: Sequence[Token]) -> list[Token]:
    """Leave out the head of a table of words, which is empty: it would be read out."""
    kept: list[Token] = []
    table, start = 0, 0
    for token in tokens:
        kept.append(token)
        if token.type == "table_open":
            table = len(kept) - 1
        elif token.type == "thead_open":
            start = len(kept) - 1
        elif token.type == "thead_close" and not any(t.content for t in kept[start:]):
            del kept[start:]
            kept[table].attrSet("class", "words")
    return kept
