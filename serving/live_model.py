"""The model that answers. Its successor is loaded beside it and tried, then takes its place."""

import logging
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from digits.core.errors import UserError
from digits.evaluation import drift
from digits.gate import results
from digits.model import self_test
from digits.model.classifier import Classifier
from digits.storage import model_store
from digits.storage.model_store import Location, Pointer

log = logging.getLogger("uvicorn")


@dataclass(frozen=True)
class Served:
    """A model; `tag` and `answers`, those of its evaluation, are None where nothing tells them."""

    classifier: Classifier
    version: str
    tag: str | None
    answers: results.Answers | None

    def __str__(self) -> str:
        return f"{self.version} (model {self.classifier.id[:12]})"


class Current:
    """`served` answers; `refresh` has it be what a deployment points at by now.

    Raises
    ------
    InputError
        If there is no model to begin with, or it does not answer its golden images as it should.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.refused = 0  # times that `refresh` has failed
        self._complaint = ""
        self.served, self._pointer = self._bring()

    def refresh(self) -> None:
        """Serve what the pointer names by now; a model that can't be had, or is bad, is refused."""
        assert self.location.stage is not None
        try:
            if model_store.read_pointer(self.location.url, self.location.stage) != self._pointer:
                before = self.served
                self.served, self._pointer = self._bring()
                log.info("now serves %s, in place of %s", self.served, before)
            self._complaint = ""
        except Exception as error:  # the edge of a thread: whatever it is, the old model stays
            self.refused += 1
            if str(error) != self._complaint:  # which is told once
                is_fault = not isinstance(error, UserError)
                log.error("still serves %s: %s", self.served, error, exc_info=is_fault)
            self._complaint = str(error)

    def follow(self, every_s: float) -> None:
        """Refresh from now on, on a thread of its own; a model folder stays what it is."""

        def refresh() -> None:
            while not never.wait(every_s):
                self.refresh()

        never = threading.Event()
        if self.location.stage is not None:
            threading.Thread(target=refresh, name="follow", daemon=True).start()

    def _bring(self) -> tuple[Served, Pointer | None]:
        with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
            folder, pointer = model_store.bring(self.location, temporary)
            return _load(folder, pointer), pointer


def _load(folder: Path, pointer: Pointer | None) -> Served:
    self_test.check(folder)
    classifier = Classifier.load(folder)
    answers = None
    if (folder / model_store.EVALUATION).exists():  # a deployment has it
        answers = results.Scores.load(folder / model_store.EVALUATION).answers
    if answers and len(answers.confidence) != len(drift.EDGES):
        answers = None  # it was counted between other edges
    if pointer is None:
        return Served(classifier, classifier.id[:12], None, answers)
    return Served(classifier, pointer.version, pointer.tag, answers)
