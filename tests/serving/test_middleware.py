"""Safe as it starts: of this machine alone, no other site's script, no word too much."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from digits.core.errors import InputError
from digits.storage import model_store
from serving import app, middleware
from serving.app_state import AppState
from serving.live_model import LiveModel
from serving.worker_pool import WorkerPool
from tests.helpers import warm_python
from tests.helpers.proxy import prefix_proxy
from tests.helpers.servers import Server, serve
from tests.helpers.small import ROOT
from tests.helpers.wait import until
from tests.serving.test_predict import FILE, check_problem

pytestmark = pytest.mark.slow(2)

TOKEN = "a-token-of-some-length"
PREFIX = "/p"  # with which paths of the server begin too: /predict, /ping


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.address[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/", "/predict", "/metrics", "/nothing", "/v2"])
def test_each_answer_keeps_other_sites_out(server: Server, path: str) -> None:
    answer = server.ask(path, FILE if path == "/predict" else None, Origin="https://evil.example")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "*" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Server"] is None


def test_the_log_has_a_line_a_request_and_nothing_of_its_body(server: Server) -> None:
    line = '"POST /predict HTTP/1.1" 422 '
    before = server.log.count(line)
    server.ask("/predict", b"secret-in-body", Authorization="secret-in-header")
    until(lambda: server.log.count(line) > before)  # it follows the answer
    assert "secret" not in server.log


def test_a_token_is_asked_for_where_one_is_set(model_folder: Path, tmp_path: Path) -> None:
    with serve(model_folder, tmp_path, **{middleware.TOKEN: TOKEN}) as server:
        for path in ("/predict", "/invocations", "/v2/models/digit-classifier/infer", "/metrics"):
            body = None if path == "/metrics" else FILE
            for wrong in ({}, {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN[:-1]}"}):
                answer = server.ask(path, body, **wrong)
                check_problem(answer, 401)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert server.ask("/predict", FILE, **right).status == 200
        assert server.ask("/metrics", **right).status == 200
        for path in middleware.OPEN:
            assert server.ask(path).status == 200
        assert TOKEN not in server.log


def test_an_empty_token_is_no_token_to_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a secret that is not set, which must not leave the server open or broken."""
    monkeypatch.setenv(middleware.TOKEN, "")
    with pytest.raises(InputError, match="has 0 characters; expected 16 or more, or unset"):
        middleware.token()


def test_a_token_beyond_ascii_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python and browsers send ü as one byte, curl as two: the server can't expect both."""
    monkeypatch.setenv(middleware.TOKEN, "a-token-with-ü-in-it")
    with pytest.raises(InputError, match="not printable ASCII"):
        middleware.token()


@pytest.mark.parametrize("removes_prefix", [True, False])
def test_behind_a_proxy_with_a_prefix_all_is_as_without(
    behind: Server, removes_prefix: bool
) -> None:
    with prefix_proxy(behind.address, PREFIX, removes_prefix) as url:
        shown = replace(behind, url=url)
        document = shown.ask(f"{PREFIX}/openapi.json").json
        assert document["servers"] == [{"url": PREFIX}]
        for path in document["paths"]:
            assert shown.ask(f"{PREFIX}{path}").status in (200, 401, 405)
        right = {"Authorization": f"Bearer {TOKEN}"}
        answer = shown.ask(f"{PREFIX}/predict", FILE, **right)
        assert (answer.status, answer.body) == (200, behind.ask("/predict", FILE, **right).body)
        check_problem(shown.ask(f"{PREFIX}/predict", FILE), 401)
        assert "error" in shown.ask(f"{PREFIX}/v2/models/other", **right).json  # KServe's field
        assert shown.ask(PREFIX).body == shown.ask(f"{PREFIX}/").body
        check_problem(behind.ask(f"{PREFIX}x/livez", **right), 404)
        for path in middleware.OPEN:
            assert shown.ask(f"{PREFIX}{path}").status == behind.ask(path).status == 200


@pytest.fixture(scope="module")
def behind(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a proxy shows under a prefix."""
    folder = tmp_path_factory.mktemp("behind")
    with serve(
        model_folder, folder, "--root-path", f"{PREFIX}/", **{middleware.TOKEN: TOKEN}
    ) as found:
        yield found


def test_a_fault_is_answered_without_its_cause(model_folder: Path) -> None:
    state = AppState(LiveModel(model_store.locate(str(model_folder))), WorkerPool(1, 1))
    state.live_model.served = None  # type: ignore[assignment]  # as no request ever sees it
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": FILE, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "http_version": "1.1",
        "query_string": b"",
        "headers": [],
    }
    with pytest.raises(AttributeError):  # which uvicorn logs
        asyncio.run(app.create(state, None)(scope, receive, send))
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["detail"] == "Internal error; the server's log has the cause"


def start(*words: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [warm_python.python(), "-m", "serving", "--port", "0", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow(5)
def test_what_keeps_it_from_starting_is_told(model_folder: Path, tmp_path: Path) -> None:
    for words, environment, said in (
        (("--model", str(tmp_path)), {}, f"{tmp_path} holds no model"),
        ((), {}, "there is no model here"),
        (
            ("--model", str(model_folder)),
            {middleware.TOKEN: "short"},
            "has 5 characters; expected 16",
        ),
        (
            ("--model", str(model_folder)),
            {middleware.TOKEN: f"{TOKEN}\n"},
            "a character that is not printable ASCII",
        ),
        (("--model", "s3:/bucket/digits"), {}, "'s3:/bucket/digits' cannot be used"),
        (
            ("--model", "s3://bucket/digits"),
            {"AWS_ENDPOINT_URL": "minio:9000"},
            "AWS_ENDPOINT_URL is 'minio:9000'; expected http://HOST:PORT",
        ),
    ):
        found = start(*words, folder=tmp_path, **environment)
        assert found.returncode == 1
        assert said in found.stderr
        assert "Traceback" not in found.stderr


def test_a_damaged_model_is_not_served(model_folder: Path, tmp_path: Path) -> None:
    for path in model_folder.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:-1] if path.name == "golden.npz" else content)
    found = start("--model", str(tmp_path))
    assert found.returncode == 1
    assert "golden.npz: sha256" in found.stderr


def test_openness_without_a_token_is_warned_of(model_folder: Path, tmp_path: Path) -> None:
    with serve(model_folder, tmp_path, "--host", "0.0.0.0") as server:
        assert f"0.0.0.0 accepts other machines, and {middleware.TOKEN} is not set" in server.log
