"""A deployment is followed: its new model takes over under load, a bad one never does."""

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from digits.evaluation import drift
from digits.storage import model_store
from serving import live_model
from serving.live_model import LiveModel
from tests.helpers.deployments import ONE, TWO, deploy, pointer, put
from tests.helpers.s3 import Proxy
from tests.helpers.servers import Answer, Server, serve
from tests.helpers.tiny_models import changed, digest, model, wrong_golden
from tests.helpers.wait import until
from tests.serving.test_predict import FILE

pytestmark = pytest.mark.slow(12)

QUICK = ("--poll", "0.05")


def point(url: str, contents: Mapping[str, bytes], number: int) -> None:
    seen = model_store.read_pointer(url, "production")
    model_store.move_pointer(url, "production", pointer(contents, number), seen)


@contextmanager
def load(server: Server) -> Iterator[list[Answer]]:
    """Four clients that ask without a pause; all that they are told."""
    answers: list[Answer] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(server.ask("/predict", FILE))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            yield answers
        finally:
            stop.set()
        for each in asking:
            each.result()


def test_a_new_model_takes_over_under_load_and_no_request_fails(place: str, tmp_path: Path) -> None:
    deploy(place, ONE)
    with serve(place, tmp_path, *QUICK) as server, load(server) as answers:
        for number in range(2, 8):
            deploy(place, (ONE, TWO)[number % 2], number)
            version = f"v1.{number}.0"
            until(lambda version=version: server.ask("/version").json["version"] == version)
            count = len(answers)
            until(lambda count=count: len(answers) > count + 8)
    assert {each.status for each in answers} == {200}
    by_version: dict[str, set[bytes]] = {}
    for each in answers:
        by_version.setdefault(each.json["version"], set()).add(each.body)
    assert set(by_version) == {f"v1.{number}.0" for number in range(1, 8)}
    for version, bodies in by_version.items():
        [body] = bodies  # one model's answer, whole
        expected = (ONE, TWO)[int(version[3]) % 2 if version != "v1.1.0" else 0]
        assert json.loads(body)["model"] == digest(expected["model.json"])
    assert "now serves v1.7.0" in server.log


def test_a_model_is_loaded_once_for_each_move_of_the_pointer(tmp_path: Path) -> None:
    deploy(str(tmp_path), ONE)
    live_model = LiveModel(model_store.locate(str(tmp_path)))
    deploy(str(tmp_path), TWO, 2)
    for number in (2, 3):  # the same model again, by another tag
        deploy(str(tmp_path), TWO, number)
        live_model.refresh()
        served = live_model.served
        assert served.version == f"v1.{number}.0"
        live_model.refresh()
        assert live_model.served is served
    assert live_model.refused == 0


def test_the_version_asked_for_answers_though_another_comes_meanwhile(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    deploy(url, ONE)
    path = "/v2/models/digit-classifier/versions/v1.1.0/infer"
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 8, 8], "data": [0] * 64}
    body = json.dumps({"inputs": [tensor]}).encode()
    with serve(url, tmp_path, *QUICK) as server, closing(server.connect()) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(65_536).startswith(b"HTTP/1.1 100 ")  # it awaits the body
        deploy(url, TWO, 2)
        until(lambda: server.ask("/version").json["version"] == "v1.2.0")
        connection.send(body)
        assert json.load(connection.getresponse())["model_version"] == "v1.1.0"
        assert server.ask(path, body).status == 404


@pytest.mark.parametrize(
    "fault", ["missing", "unfinished", "damaged", "golden", "graph", "pointer", "no pointer"]
)
def test_a_bad_replacement_is_refused_and_the_old_one_stays(tmp_path: Path, fault: str) -> None:
    url = str(tmp_path / "store")
    deploy(url, ONE)
    bad = TWO
    with serve(url, tmp_path, *QUICK) as server:
        before = server.ask("/predict", FILE).json
        match fault:
            case "missing":
                point(url, bad, 2)
            case "unfinished":
                model_store.put_model(url, bad, "it")
                Path(url, digest(bad["model.json"]), "manifest.json").unlink()
                point(url, bad, 2)
            case "damaged":
                model_store.put_model(url, bad, "it")
                put(url, f"{digest(bad['model.json'])}/model.onnx", b"other")
                point(url, bad, 2)
            case "golden":
                deploy(url, changed(TWO, "golden.npz", wrong_golden(TWO)), 2)
            case "graph":
                deploy(url, changed(TWO, "model.onnx", b"no graph"), 2)
            case "pointer":
                put(url, "production.json", b"{}")
            case "no pointer":
                Path(url, "production.json").unlink()
        until(lambda: server.metrics()["digits_models_refused_total"] > 3)
        assert server.ask("/predict", FILE).json == before
        assert server.ask("/readyz").status == 200
        assert server.log.count("still serves v1.1.0") == 1  # and not at each look
        put(url, "production.json", b"") if fault == "pointer" else None
        Path(url, "production.json").unlink(missing_ok=True)
        third = model(3)
        deploy(url, third, 3)
        until(lambda: server.ask("/version").json["version"] == "v1.3.0")
        assert server.ask("/predict", FILE).json["model"] == digest(third["model.json"])


def test_an_error_is_logged_once_until_all_is_well_again_and_a_fault_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(str(tmp_path), ONE)
    live, path = LiveModel(model_store.locate(str(tmp_path))), tmp_path / "production.json"
    good, with_traceback = path.read_bytes(), []
    monkeypatch.setattr(
        live_model.log, "error", lambda *_, exc_info: with_traceback.append(exc_info)
    )
    for _ in range(2):
        path.write_bytes(b"{}")
        live.refresh()
        live.refresh()
        path.write_bytes(good)
        live.refresh()
    assert with_traceback == [False, False]
    assert live.refused == 4

    def fail(*_: str) -> None:
        raise ValueError  # without a word

    monkeypatch.setattr(model_store, "read_pointer", fail)
    live.refresh()
    assert with_traceback == [False, False, True]


def test_a_bucket_that_is_out_of_reach_changes_nothing(
    s3_proxy: Proxy, bucket: str, tmp_path: Path
) -> None:
    deploy(bucket, ONE)
    with serve(bucket, tmp_path, *QUICK) as server:
        before = server.ask("/predict", FILE).json
        s3_proxy.fail("forbidden")
        until(lambda: server.metrics()["digits_models_refused_total"] > 0)
        assert server.ask("/predict", FILE).json == before
        s3_proxy.heal()
        deploy(bucket, TWO, 2)
        until(lambda: server.ask("/version").json["version"] == "v1.2.0")


@pytest.mark.parametrize(("bins", "comparable"), [(len(drift.EDGES), True), (9, False)])
def test_an_evaluation_with_other_bins_of_confidence_is_not_compared_with(
    tmp_path: Path, bins: int, comparable: bool
) -> None:
    answers = {"predicted": [1] * 10, "confidence": [1] * bins}
    evaluation = json.loads(ONE["evaluation.json"]) | {"answers": answers}
    deploy(str(tmp_path), ONE | {"evaluation.json": json.dumps(evaluation).encode()})
    live_model = LiveModel(model_store.locate(str(tmp_path)))
    assert (live_model.served.answers is not None) == comparable


def test_another_version_of_the_same_model_is_told(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    deploy(url, ONE)
    with serve(url, tmp_path, *QUICK, "--stage", "production") as server:
        deploy(url, ONE, 2)
        until(lambda: server.ask("/version").json["tag"] == "digit-classifier#production#2")
