"""Read what deployments serve, in the background, so that a slow bucket blocks no page."""

import threading
import time
from dataclasses import dataclass

from digits.core.errors import UserError
from digits.storage import model_store
from digits.storage.model_store import ENVIRONMENTS, Pointer
from ops.ui.facts import jobs
from ops.ui.project import Project

LIVE_S = 0.2  # a page waits so long for a first answer
WRITTEN_S = 60  # a page that is written to a file waits so long
FRESH_S = 15  # an answer is asked for again after this time


@dataclass(frozen=True)
class Served:
    """What a URL serves: a pointer for each environment, or the reason why it is unknown."""

    url: str
    pointers: dict[str, Pointer]
    problem: str | None


class _Question:
    """Asks a URL in a thread of its own; a thread that hangs does not keep the program from ending.

    The answer is None until there is one. A later question has the former answer until its own
    comes. Then the pages that are open are told.
    """

    def __init__(self, url: str, former: Served | None, *, is_live: bool) -> None:
        self.url, self.answer, self.is_live = url, former, is_live
        self.done = threading.Event()
        self.asked = time.monotonic()
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        former = self.answer
        try:
            self.answer = ask(self.url)
        finally:
            self.done.set()
        if self.is_live and self.answer != former:
            jobs.tell_pages()


_questions: dict[str, _Question] = {}
_lock = threading.Lock()


def read(project: Project) -> list[Served]:
    """What each of the project's deployments serves; waits for a bounded time."""
    questions = [_question(url, project.is_live) for url in project.elsewhere.deployments]
    end = time.monotonic() + (LIVE_S if project.is_live else WRITTEN_S)
    for question in questions:
        if question.answer is None:
            question.done.wait(max(0.0, end - time.monotonic()))
    return [q.answer or Served(q.url, {}, "it has not answered yet") for q in questions]


def ask(url: str) -> Served:
    """Ask a URL, which may take as long as a request to a bucket may."""
    try:
        pointers = {name: model_store.read_pointer(url, name) for name in ENVIRONMENTS}
    except UserError as error:
        return Served(url, {}, str(error))
    found = {name: pointer for name, pointer in pointers.items() if pointer}
    return Served(url, found, None if found else "no model was deployed there yet")


def _question(url: str, is_live: bool) -> _Question:
    with _lock:
        last = _questions.get(url)
        if last is None or (last.done.is_set() and time.monotonic() - last.asked > FRESH_S):
            former = last.answer if last else None
            last = _questions[url] = _Question(url, former, is_live=is_live)
        return last
