"""What Prometheus reads agrees with what was asked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from digits.evaluation import drift, metrics
from digits.model.classifier import Classifier
from digits.storage import model_store
from serving.counts import Counts
from serving.live_model import Classification, LiveModel, ServedModel
from serving.prometheus import PrometheusMetrics
from serving.worker_pool import WorkerPool
from tests.helpers.deployments import deploy
from tests.helpers.servers import Server, serve, write_model
from tests.helpers.tiny_models import digest, model
from tests.serving.test_predict import FILE

pytestmark = pytest.mark.slow(2)

IMAGES = np.random.default_rng(2).integers(0, 256, (500, 8, 8), np.uint8)


def test_it_counts_what_was_asked(
    classifier: Classifier, model_folder: Path, tmp_path: Path
) -> None:
    with serve(model_folder, tmp_path) as server:
        server.ask("/predict", {"images": IMAGES.tolist()})
        server.ask("/predict", {"images": IMAGES[:3].tolist()})
        server.ask("/predict", b"no image")
        server.ask("/nothing/1")
        server.ask("/nothing/2")
        found = server.metrics()
    assert found['digits_requests_total{path="/predict",status="200"}'] == 2
    assert found['digits_requests_total{path="/predict",status="422"}'] == 1
    assert found['digits_requests_total{path="other",status="404"}'] == 2
    assert found['digits_request_seconds_count{path="/predict"}'] == 3
    assert found["digits_batch_size_sum"] == 503
    assert found['digits_batch_size_bucket{le="5.0"}'] == 1
    assert found["digits_queue"] == 0
    assert found["digits_queue_limit"] == 64
    probabilities = metrics.softmax(classifier.logits(np.concatenate([IMAGES, IMAGES[:3]])))
    counts = np.bincount(probabilities.argmax(axis=1), minlength=10)
    for name, count in zip(classifier.classes, counts, strict=True):
        assert found[f'digits_predictions_total{{predicted="{name}"}}'] == count
    confidence = probabilities.max(axis=1)
    for edge in drift.EDGES[:-1]:
        assert found[f'digits_confidence_bucket{{le="{edge}"}}'] == (confidence <= edge).sum()
    assert found['digits_confidence_bucket{le="+Inf"}'] == 503
    assert found["digits_confidence_sum"] == pytest.approx(confidence.sum())
    labels = f'model="{classifier.id}",tag="",version="{classifier.id[:12]}"'
    assert found[f"digits_model_info{{{labels}}}"] == 1
    assert not any(name.startswith("digits_drift") for name in found)  # nothing to compare with


def test_drift_is_the_distance_from_the_evaluation(tmp_path: Path) -> None:
    contents = model(1)
    loaded = Classifier.load(write_model(tmp_path / "model"))
    probabilities = metrics.softmax(loaded.logits(IMAGES))
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=10)
    bins = drift.bins(probabilities.max(axis=1).tolist())
    answers = {
        "predicted": predicted.tolist(),
        "confidence": np.bincount(bins, minlength=len(drift.EDGES)).tolist(),
    }
    evaluation = json.loads(contents["evaluation.json"]) | {"answers": answers}
    contents["evaluation.json"] = json.dumps(evaluation).encode()
    deploy(str(tmp_path / "store"), contents)
    with serve(tmp_path / "store", tmp_path) as server:
        server.ask("/predict", {"images": IMAGES.tolist()})
        found = server.metrics()
        assert found['digits_drift{of="predicted"}'] == pytest.approx(0)
        assert found['digits_drift{of="confidence"}'] == pytest.approx(0)
        assert found["digits_drift_answers"] == 500
        server.ask("/predict", {"images": [IMAGES[0].tolist()] * 1500})
        found = server.metrics()
        assert found["digits_drift_answers"] == 1000  # the last ones
        share = predicted[probabilities[0].argmax()] / 500
        assert found['digits_drift{of="predicted"}'] == pytest.approx(1 - share)
        labels = f'model="{digest(contents["model.json"])}",tag="digit-classifier#production#1"'
        assert found[f'digits_model_info{{{labels},version="v1.1.0"}}'] == 1


def test_drift_is_over_the_last_answers_of_all_processes_by_the_model_of_now(
    tmp_path: Path,
) -> None:
    contents = model(1)
    answers = {"predicted": [0, 500, *[0] * 8], "confidence": [*[0] * 9, 500]}  # all a sure 1
    evaluation = json.loads(contents["evaluation.json"]) | {"answers": answers}
    contents["evaluation.json"] = json.dumps(evaluation).encode()
    deploy(str(tmp_path / "store"), contents)
    live_model = LiveModel(model_store.locate(str(tmp_path / "store")))
    former = replace(live_model.served, version="v0.9.0")
    counts, pool = Counts(2), WorkerPool(1, 1)

    def count(served: ServedModel, images: int, name: int) -> None:
        row = [float(i == name) for i in range(10)]
        found.count_images(Classification(served, [name] * images, [row] * images))

    found = PrometheusMetrics(live_model, pool, counts)
    count(live_model.served, 800, 0)
    count(former, 100, 1)
    counts.use(1)
    found = PrometheusMetrics(live_model, pool, counts)
    count(live_model.served, 800, 1)
    read = {
        (sample.name, *sample.labels.values()): sample.value
        for family in found.collect()
        for sample in family.samples
    }
    assert read["digits_drift_answers",] == 1000
    assert read["digits_drift", "predicted"] == pytest.approx(0.2)
    assert read["digits_drift", "confidence"] == 0


def test_what_a_process_refused_before_it_died_still_counts(model_folder: Path) -> None:
    live_model = LiveModel(model_store.locate(str(model_folder)))
    counts, pool = Counts(), WorkerPool(1, 1)
    live_model.refused = 2
    PrometheusMetrics(live_model, pool, counts).publish()
    counts.use(0)
    live_model.refused = 1  # of the process that replaces it
    PrometheusMetrics(live_model, pool, counts).publish()
    assert counts.totals()["refused",] == [3]


def test_prometheus_own_parser_reads_it_in_either_format(server: Server) -> None:
    server.ask("/predict", FILE)
    families = {
        each.name: each
        for each in text_string_to_metric_families(server.ask("/metrics").body.decode())
    }
    assert families["digits_requests"].type == "counter"
    assert families["digits_confidence"].type == "histogram"
    answer = server.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_a_version_that_is_no_number_gets_the_plain_format(server: Server, kind: str) -> None:
    answer = server.ask("/metrics", Accept=f"{kind}; version=1.x")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == server.ask("/metrics").headers["Content-Type"]
