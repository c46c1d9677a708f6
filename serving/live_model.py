"""The model that answers requests, and its replacement when a deployment points at another one.

The new model is loaded next to the old one and tested before it takes the old one's place.
"""

import logging
import tempfile
import threading
import time
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from digits.core.arrays import Float32Array
from digits.core.errors import UserError
from digits.evaluation import drift, metrics
from digits.gate import results
from digits.model import self_test
from digits.model.classifier import Classifier
from digits.storage import model_store
from digits.storage.model_store import Location, Pointer

log = logging.getLogger("uvicorn")


@dataclass(frozen=True)
class ServedModel:
    """A model with its version.

    `tag` is the Git tag that deployed it, None for a model folder. `answers` are the counts of its
    evaluation, None where there are none to compare with.
    """

    classifier: Classifier
    version: str
    tag: str | None
    answers: results.Answers | None

    def __str__(self) -> str:
        return f"{self.version} (model {self.classifier.id[:12]})"

    @cached_property
    def number(self) -> int:
        """Tells it from the model before and after it; the same in every process."""
        return 1 + zlib.crc32(f"{self.classifier.id} {self.version} {self.tag}".encode())

    def decide(self, logits: Float32Array) -> "Classification":
        """Classify images by their logits: float32 (n, classes)."""
        probabilities = metrics.softmax(logits).tolist()
        return Classification(self, [row.index(max(row)) for row in probabilities], probabilities)


@dataclass(frozen=True)
class Classification:
    """The most likely class of each image (its index), and the probabilities of all classes."""

    model: ServedModel
    predicted: list[int]
    probabilities: list[list[float]]

    @property
    def names(self) -> list[str]:
        """The name of each predicted class."""
        return [self.model.classifier.classes[k] for k in self.predicted]

    @property
    def confidence(self) -> list[float]:
        """The probability of each predicted class."""
        return [row[k] for k, row in zip(self.predicted, self.probabilities, strict=True)]


class LiveModel:
    """Holds the model that answers requests in `served`.

    Raises
    ------
    Unreachable
        If the location can't be read at the start.
    InputError
        If there is no model at the start, or its self-test fails.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.refused = 0  # how often `refresh` has failed
        self._last_error: str | None = None
        self.served, self._pointer = self._load()

    def refresh(self) -> None:
        """Load the model that the deployment points at, if that has changed.

        A model that can't be loaded, or fails its self-test, is refused: the old one stays.
        """
        url, environment = self.location.url, self.location.environment
        assert environment is not None
        try:
            if model_store.read_pointer(url, environment) != self._pointer:
                before = self.served
                self.served, self._pointer = self._load()
                log.info("now serves %s, in place of %s", self.served, before)
            self._last_error = None
        except Exception as error:  # the outermost edge of a thread; the old model stays
            self.refused += 1
            if str(error) != self._last_error:  # log each error once, not at every poll
                is_fault = not isinstance(error, UserError)
                log.error("still serves %s: %s", self.served, error, exc_info=is_fault)
            self._last_error = str(error)

    def follow(self, every_s: float) -> None:
        """Refresh every `every_s` seconds on a thread, if the location is a deployment."""
        if self.location.environment is not None:
            threading.Thread(target=self._poll, args=(every_s,), name="follow", daemon=True).start()

    def _poll(self, every_s: float) -> None:
        while True:
            time.sleep(every_s)
            self.refresh()

    def _load(self) -> tuple[ServedModel, Pointer | None]:
        with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
            folder, pointer = model_store.bring(self.location, temporary)
            return _load_folder(folder, pointer), pointer


def _load_folder(folder: Path, pointer: Pointer | None) -> ServedModel:
    self_test.check(folder)
    classifier = Classifier.load(folder)
    answers = None
    if (folder / model_store.EVALUATION).exists():  # only in a deployment
        answers = results.Scores.load(folder / model_store.EVALUATION).answers
    if answers and len(answers.confidence) != len(drift.EDGES):
        answers = None  # counted with other bins, so they can't be compared
    if pointer is None:
        return ServedModel(classifier, classifier.id[:12], None, answers)
    return ServedModel(classifier, pointer.version, pointer.tag, answers)
