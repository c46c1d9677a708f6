"""What Prometheus reads: requests, the queue, answers, and how far these have drifted."""

from collections import Counter, deque
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import prometheus_client as prometheus
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from starlette.types import Scope

from digits.evaluation import drift
from serving.live_model import Current, Served
from serving.worker_pool import Queue

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a line more for each

WINDOW = 1000  # answers that are compared with the evaluation's
SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Monitor:
    """Counts what it is told, and asks model and queue when it is read."""

    def __init__(self, current: Current, queue: Queue) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "digits_requests", "Answers sent", ["path", "status"], registry=self.registry
        )
        self.seconds = prometheus.Histogram(
            "digits_request_seconds",
            "From the request's first line to the answer's end",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.sizes = prometheus.Histogram(
            "digits_batch_size", "Images in a request", buckets=SIZES, registry=self.registry
        )
        self.registry.register(self)
        prometheus.ProcessCollector(registry=self.registry)
        self._current, self._queue = current, queue
        self._predicted: Counter[str] = Counter()
        self._confidence = [0] * len(drift.EDGES)
        self._confidence_sum = 0.0
        self._served = current.served
        self._last: deque[tuple[int, int]] = deque(maxlen=WINDOW)  # class and bin of an answer

    def requested(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request; `status` 0: there was no answer."""
        path = getattr(scope.get("route"), "path", "other")  # as it stands in the code: few
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)

    def answered(self, served: Served, predicted: list[int], confidence: list[float]) -> None:
        """Count the answers to a request: a class and a fraction for each image."""
        bins = drift.bins(confidence)
        self.sizes.observe(len(predicted))
        self._confidence_sum += sum(confidence)
        for k, i in zip(predicted, bins, strict=True):
            self._predicted[served.classifier.classes[k]] += 1
            self._confidence[i] += 1
        if served is not self._served and served is self._current.served:
            self._served, self._last = served, deque(maxlen=WINDOW)
        if served is self._served:
            self._last.extend(zip(predicted, bins, strict=True))

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks for."""
        served = self._current.served
        yield InfoMetricFamily(
            "digits_model",
            "What answers",
            {"model": served.classifier.id, "version": served.version, "tag": served.tag or ""},
        )
        yield CounterMetricFamily(
            "digits_models_refused", "Replacements not served", self._current.refused
        )
        yield GaugeMetricFamily("digits_queue", "Requests waiting or at work", self._queue.length)
        yield GaugeMetricFamily("digits_queue_limit", "As many may be", self._queue.limit)
        predictions = CounterMetricFamily("digits_predictions", "Answers", labels=["predicted"])
        for name in served.classifier.classes:
            predictions.add_metric([name], self._predicted[name])
        yield predictions
        edges = [*map(str, drift.EDGES[:-1]), "+Inf"]
        counts = accumulate(self._confidence)
        yield HistogramMetricFamily(
            "digits_confidence",
            "The predicted class's probability",
            list(zip(edges, counts, strict=True)),
            self._confidence_sum,
        )
        yield from self._drift()

    def _drift(self) -> Iterator[Metric]:
        answers = self._served.answers
        if answers is None or not self._last:
            return
        found = GaugeMetricFamily(
            "digits_drift",
            f"Share of the last {WINDOW} answers that would have to change to be distributed as "
            "in the evaluation",
            labels=["of"],
        )
        predicted, bins = zip(*self._last, strict=True)
        for of, last, reference in (
            ("predicted", predicted, answers.predicted),
            ("confidence", bins, answers.confidence),
        ):
            counts = np.bincount(last, minlength=len(reference))
            found.add_metric([of], drift.distance(counts, reference))
        yield found
        yield GaugeMetricFamily("digits_drift_answers", "That drift is over", len(self._last))
