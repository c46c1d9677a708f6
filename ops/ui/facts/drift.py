"""How far a server's answers have drifted, by its metrics for Prometheus."""

import http.client
import math
import os
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from digits.core.errors import InputError
from digits.core.urls import looks_like_url

TIMEOUT_S = 3
MOST_BYTES = 10**6
TOKEN = "DIGITS_SERVING_TOKEN"
OF = {"predicted": "predicted classes", "confidence": "confidence"}


@dataclass(frozen=True)
class Distance:
    """How far one distribution has drifted.

    of : what is counted
    share : of the answers that would have to change to be distributed as in the evaluation
    chance : about what chance alone makes of it
    """

    of: str
    share: float
    chance: float

    @property
    def is_large(self) -> bool:
        return self.share > 2 * self.chance


@dataclass(frozen=True)
class Drift:
    """A server's answers.

    version : of the model that it serves
    answers : the number that drift is over
    distances : empty if the server has nothing to compare
    predicted : all answers since the server started, by class
    """

    version: str
    model: str
    answers: int
    distances: list[Distance]
    predicted: dict[str, int]


def read(source: str) -> Drift:
    """Read a server's metrics.

    Parameters
    ----------
    source : the URL of /metrics, or a file with its content

    Raises
    ------
    InputError
        If they can't be read, or are not those of the server.
    """
    from prometheus_client.parser import text_string_to_metric_families  # only the server needs it

    try:
        samples = defaultdict(list)
        for family in text_string_to_metric_families(_content(source)):
            for sample in family.samples:
                samples[sample.name].append(sample)
        model = samples["digits_model_info"][0].labels
        predicted = {
            s.labels["predicted"]: int(s.value) for s in samples["digits_predictions_total"]
        }
        answers = sum(int(s.value) for s in samples["digits_drift_answers"])
        bins = {"predicted": len(predicted), "confidence": len(samples["digits_confidence_bucket"])}
        distances = [
            Distance(OF[of], s.value, 0.4 * math.sqrt(bins[of] / answers))
            for s in samples["digits_drift"]
            for of in [s.labels["of"]]
        ]
        return Drift(model["version"], model["model"], answers, distances, predicted)
    except (KeyError, IndexError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(
            f"{source} has no metrics of python -m serving: {error!r}. Expected its /metrics"
        ) from None


def _read(response: http.client.HTTPResponse) -> bytes:
    """The answer, as far as it comes in time: the limit of a connection is one of each part."""
    end, content = time.monotonic() + TIMEOUT_S, b""
    while (part := response.read1(MOST_BYTES)) and len(content) < MOST_BYTES:
        content += part
        if time.monotonic() > end:
            raise TimeoutError(f"no whole answer in {TIMEOUT_S} s")
    return content


def _content(source: str) -> str:
    try:
        if not looks_like_url(source):
            return Path(source).read_text(encoding="utf-8")
        token = os.environ.get(TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(source, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            content = _read(response)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"{source} can't be read: {error}") from None
    return content.decode(errors="replace")
