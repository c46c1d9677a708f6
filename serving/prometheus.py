"""Metrics for Prometheus: requests, the queue, predictions and their drift."""

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import partial
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

from digits.evaluation import drift
from serving.live_model import Classification, LiveModel
from serving.worker_pool import WorkerPool

# One line less for each metric.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

WINDOW = 1000  # predictions that are compared with the evaluation's
SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Histogram:
    """Counts values up to each edge, and adds them up, in a tenth of prometheus_client's time."""

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges, self._counts, self.sum = edges, [0] * (len(edges) + 1), 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._edges, value)] += 1
        self.sum += value

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Each edge, and how many values are at most as large."""
        edges = [*map(floatToGoString, self._edges), "+Inf"]
        return list(zip(edges, accumulate(self._counts), strict=True))


class PrometheusMetrics:
    """Counts requests and predictions; reads the model and the pool when Prometheus asks.

    Its methods run on the event loop alone, so they need no lock.
    """

    def __init__(self, live_model: LiveModel, pool: WorkerPool) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.registry.register(self)
        prometheus_client.ProcessCollector(registry=self.registry)
        self._live_model, self._pool = live_model, pool
        self._requests: Counter[tuple[str, int]] = Counter()  # by path and status
        self._seconds: dict[str, Histogram] = defaultdict(partial(Histogram, SECONDS))  # by path
        self._sizes = Histogram(SIZES)
        self._predicted: Counter[str] = Counter()
        self._confidence = Histogram(drift.EDGES[:-1])
        self._served = live_model.served
        self._last: deque[tuple[int, int]] = deque(maxlen=WINDOW)  # predicted class, confidence bin

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request; `status` is 0 if no response was sent."""
        # The route's template, not the URL: a client must not be able to create new labels.
        path = getattr(scope.get("route"), "path", "other")
        self._requests[path, status] += 1
        self._seconds[path].observe(seconds)

    def count_images(self, classification: Classification) -> None:
        """Count the predictions of a request."""
        model, predicted = classification.model, classification.predicted
        confidence = classification.confidence
        bins = drift.bins(confidence)
        self._sizes.observe(len(predicted))
        for k, value in zip(predicted, confidence, strict=True):
            self._predicted[model.classifier.classes[k]] += 1
            self._confidence.observe(value)
        if model is not self._served and model is self._live_model.served:
            self._served, self._last = model, deque(maxlen=WINDOW)
        if model is self._served:
            self._last.extend(zip(predicted, bins, strict=True))

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics but the process's; prometheus_client calls this."""
        requests = CounterMetricFamily(
            "digits_requests", "Responses sent", labels=["path", "status"]
        )
        for (path, status), count in self._requests.items():
            requests.add_metric([path, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "digits_request_seconds",
            "From the head of the request to the end of the response",
            labels=["path"],
        )
        for path, histogram in self._seconds.items():
            seconds.add_metric([path], histogram.buckets, histogram.sum)
        yield seconds
        yield HistogramMetricFamily(
            "digits_batch_size", "Images in a request", self._sizes.buckets, self._sizes.sum
        )
        served = self._live_model.served
        yield InfoMetricFamily(
            "digits_model",
            "The model that answers requests",
            {"model": served.classifier.id, "version": served.version, "tag": served.tag or ""},
        )
        yield CounterMetricFamily(
            "digits_models_refused", "New models refused", self._live_model.refused
        )
        yield GaugeMetricFamily("digits_queue", "Requests that wait or run", self._pool.pending)
        yield GaugeMetricFamily("digits_queue_limit", "Limit of digits_queue", self._pool.limit)
        predictions = CounterMetricFamily("digits_predictions", "Predictions", labels=["predicted"])
        for name in served.classifier.classes:
            predictions.add_metric([name], self._predicted[name])
        yield predictions
        yield HistogramMetricFamily(
            "digits_confidence",
            "Probability of the predicted class",
            self._confidence.buckets,
            self._confidence.sum,
        )
        yield from self._drift()

    def _drift(self) -> Iterator[Metric]:
        answers = self._served.answers
        if answers is None or not self._last:
            return
        distances = GaugeMetricFamily(
            "digits_drift",
            f"Share of the last {WINDOW} predictions that would have to change to be distributed "
            "as in the evaluation",
            labels=["of"],
        )
        predicted, bins = zip(*self._last, strict=True)
        for of, last, reference in (
            ("predicted", predicted, answers.predicted),
            ("confidence", bins, answers.confidence),
        ):
            counts = np.bincount(last, minlength=len(reference))
            distances.add_metric([of], drift.distance(counts, reference))
        yield distances
        yield GaugeMetricFamily(
            "digits_drift_answers", "Predictions that drift is over", len(self._last)
        )
