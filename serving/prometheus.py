"""Metrics for Prometheus: requests, the queue, predictions and their drift."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
import prometheus_client
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString
from starlette.types import Scope

from digits.core.arrays import Int64Array
from digits.evaluation import drift
from serving.counts import Cells, Counts
from serving.live_model import Classification, LiveModel, ServedModel
from serving.worker_pool import WorkerPool

# One line less for each metric.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

WINDOW = 1000  # predictions that are compared with the evaluation's
SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CONFIDENCE = drift.EDGES[:-1]
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Histogram:
    """Counts values up to each edge, and adds them up, in a tenth of prometheus_client's time."""

    def __init__(self, edges: Sequence[float], cells: Cells) -> None:
        """Count in cells: one for each edge, one for larger values, one for the sum."""
        self._edges, self._cells = edges, cells

    def observe(self, value: float) -> None:
        self._cells[bisect_left(self._edges, value)] += 1
        self._cells[-1] += value


class PrometheusMetrics:
    """Counts requests and predictions; reads the model and the pool when Prometheus asks.

    The counts are those of all processes of the server. Its methods run on the event loop alone, so
    they need no lock.
    """

    def __init__(self, live_model: LiveModel, pool: WorkerPool, counts: Counts) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.registry.register(self)
        if counts.processes == 1:
            prometheus_client.ProcessCollector(registry=self.registry)
        self._live_model, self._pool, self._counts = live_model, pool, counts
        self._seconds: dict[str, Histogram] = {}  # by path
        self._sizes = self._histogram(SIZES, "sizes")
        self._confidence = self._histogram(CONFIDENCE, "confidence")
        # Of each of the last predictions: time, number of the model, class and bin of confidence.
        self._last = counts.cells("last", width=3 * WINDOW)
        self._next = 0  # position of the oldest in `_last`
        self._refused_before = counts.cells("refused")[0]  # in a process that died
        counts.cells("queue_limit")[0] = pool.limit
        self.publish()

    def _histogram(self, edges: Sequence[float], *name: str) -> Histogram:
        return Histogram(edges, self._counts.cells(*name, width=len(edges) + 2))

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request; `status` is 0 if no response was sent."""
        # The route's template, not the URL: a client must not be able to create new labels.
        path = getattr(scope.get("route"), "path", "other")
        self._counts.cells("requests", path, str(status))[0] += 1
        if path not in self._seconds:
            self._seconds[path] = self._histogram(SECONDS, "seconds", path)
        self._seconds[path].observe(seconds)

    def count_images(self, classification: Classification) -> None:
        """Count the predictions of a request."""
        model, predicted = classification.model, classification.predicted
        confidence = classification.confidence
        self._sizes.observe(len(predicted))
        for k, value in zip(predicted, confidence, strict=True):
            self._counts.cells("predicted", model.classifier.classes[k])[0] += 1
            self._confidence.observe(value)
        now, last = time.monotonic(), self._last
        for k, bin in zip(predicted[-WINDOW:], drift.bins(confidence[-WINDOW:]), strict=True):
            i = self._next
            last[i], last[i + 1], last[i + 2] = now, model.number, k * len(drift.EDGES) + bin
            self._next = (i + 3) % len(last)

    def publish(self) -> None:
        """Tell the other processes what is counted elsewhere than here."""
        self._counts.cells("queue")[0] = self._pool.pending
        self._counts.cells("refused")[0] = self._refused_before + self._live_model.refused

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics but the process's; prometheus_client calls this."""
        self.publish()
        totals = self._counts.totals()
        requests = CounterMetricFamily(
            "digits_requests", "Responses sent", labels=["path", "status"]
        )
        seconds = HistogramMetricFamily(
            "digits_request_seconds",
            "From the head of the request to the end of the response",
            labels=["path"],
        )
        for (name, *labels), cells in totals.items():
            if name == "requests":
                requests.add_metric(labels, cells[0])
            elif name == "seconds":
                seconds.add_metric(labels, _buckets(SECONDS, cells), cells[-1])
        yield requests
        yield seconds
        sizes, confidence = totals["sizes",], totals["confidence",]
        yield HistogramMetricFamily(
            "digits_batch_size", "Images in a request", _buckets(SIZES, sizes), sizes[-1]
        )
        served = self._live_model.served
        yield InfoMetricFamily(
            "digits_model",
            "The model that answers requests",
            {"model": served.classifier.id, "version": served.version, "tag": served.tag or ""},
        )
        yield CounterMetricFamily(
            "digits_models_refused", "New models refused", totals["refused",][0]
        )
        yield GaugeMetricFamily("digits_queue", "Requests that wait or run", totals["queue",][0])
        yield GaugeMetricFamily(
            "digits_queue_limit", "Limit of digits_queue", totals["queue_limit",][0]
        )
        predictions = CounterMetricFamily("digits_predictions", "Predictions", labels=["predicted"])
        for name in served.classifier.classes:
            predictions.add_metric([name], totals.get(("predicted", name), [0.0])[0])
        yield predictions
        yield HistogramMetricFamily(
            "digits_confidence",
            "Probability of the predicted class",
            _buckets(CONFIDENCE, confidence),
            confidence[-1],
        )
        yield from self._drift(served)

    def _drift(self, served: ServedModel) -> Iterator[Metric]:
        answers, last = served.answers, self._last_answers(served.number)
        if answers is None or not len(last):
            return
        distances = GaugeMetricFamily(
            "digits_drift",
            f"Share of the last {WINDOW} predictions that would have to change to be distributed "
            "as in the evaluation",
            labels=["of"],
        )
        predicted, bins = np.divmod(last, len(drift.EDGES))
        for of, values, reference in (
            ("predicted", predicted, answers.predicted),
            ("confidence", bins, answers.confidence),
        ):
            counts = np.bincount(values, minlength=len(reference))
            distances.add_metric([of], drift.distance(counts, reference))
        yield distances
        yield GaugeMetricFamily("digits_drift_answers", "Predictions that drift is over", len(last))

    def _last_answers(self, model: int) -> Int64Array:
        """Of the last predictions of a model: class and bin of confidence, as `_last` has them."""
        parts = [cells for name, cells in self._counts.all() if name == ("last",)]
        last = np.concatenate([np.reshape(cells, (WINDOW, 3)) for cells in parts])
        last = last[last[:, 1] == model]
        order = np.argsort(last[:, 0], kind="stable")
        answers: Int64Array = last[order[-WINDOW:], 2].astype(np.int64)
        return answers


def _buckets(edges: Sequence[float], cells: Sequence[float]) -> list[tuple[str, float]]:
    """Each edge, and how many values are at most as large; of a histogram's cells."""
    names = [*map(floatToGoString, edges), "+Inf"]
    return list(zip(names, accumulate(cells[:-1]), strict=True))
