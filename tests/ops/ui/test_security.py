"""The guard and headers that no browser sends; tests/ops/ui/test_server.py has the rest."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from ops.ui.security import Guard

GUARD = Guard(Starlette(), 3000, "secret", False)


def refusal(path: str, query: str = "", cookie: str = "") -> Response | None:
    headers = {"host": "127.0.0.1:3000", "cookie": cookie}
    return GUARD.refusal(
        Request(
            {
                "type": "http",
                "method": "GET",
                "scheme": "http",
                "path": path,
                "query_string": query.encode(),
                "server": ("127.0.0.1", 3000),
                "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
            }
        )
    )


def test_the_token_leads_to_no_other_server() -> None:
    answer = refusal("//evil.example/a", "token=secret&b=1")
    assert answer is not None
    assert answer.headers["location"] == "/evil.example/a?b=1"


@pytest.mark.parametrize(
    "cookie",
    ["digits-3000=secret", "a=b;digits-3000=secret ; c", "digits-3000=x; digits-3000=secret"],
)
def test_the_cookie_is_found_among_others(cookie: str) -> None:
    """Those of other servers of this computer, which may set one of this name."""
    assert refusal("/", cookie=cookie) is None


@pytest.mark.parametrize(
    "cookie", ["", "digits-3000", "digits-3001=secret", "x-digits-3000=secret"]
)
def test_other_cookies_let_nobody_in(cookie: str) -> None:
    assert refusal("/", cookie=cookie) is not None


def test_a_cookie_is_not_unquoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """To unquote 60,000 backslashes took 16 seconds, in which nobody else got an answer."""
    monkeypatch.setattr("http.cookies._unquote", lambda text: pytest.fail("it was unquoted"))
    assert refusal("/", cookie='a="' + "\\" * 60_000 + '"') is not None
