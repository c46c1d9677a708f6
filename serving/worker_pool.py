"""Threads that do the work, and how many requests may wait for them."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from serving.problems import Problem

HELD_BACK_S = 0.003
LOOK_S = 0.01

T = TypeVar("T")
Task = tuple[Callable[[], Any], "asyncio.Future[Any]"]
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Queue:
    """At most `limit` requests wait or are being worked on; further ones are told to come again.

    While there is more to do, a thread goes on for a few milliseconds and then gives all answers
    back at once: to wake the event loop for each takes as long as to classify an image. What a long
    task then keeps it from giving back, the event loop finds as it looks by itself. The images
    of two requests are not run together: it saves little, and an answer would depend, in its last
    digits, on who else has asked.
    """

    def __init__(self, limit: int, workers: int) -> None:
        self.limit, self.length = limit, 0
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._timer: asyncio.TimerHandle | None = None  # runs while there is something to look for
        for _ in range(workers):
            threading.Thread(target=self._work, name="work", daemon=True).start()

    async def run(self, work: Callable[[], T]) -> T:
        """Have a thread do it. Raises `Problem` 429 if the queue is full."""
        if self.length >= self.limit:
            raise Problem(
                429, f"{self.length} requests are waiting already", headers={"Retry-After": "1"}
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._timer = self._timer or loop.call_later(LOOK_S, self._look)
        self.length += 1
        try:
            self._tasks.put((work, future))
            return await future
        finally:
            self.length -= 1

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            loop, until = task[1].get_loop(), time.monotonic() + HELD_BACK_S
            self._outcomes.append(_try(*task))
            with suppress(Empty):
                while time.monotonic() < until:
                    self._outcomes.append(_try(*self._tasks.get_nowait()))
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._deliver)

    def _look(self) -> None:
        self._deliver()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_S, self._look) if self.length else None

    def _deliver(self) -> None:
        while self._outcomes:
            future, result, error = self._outcomes.popleft()
            if future.done():  # cancelled: the server stops
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _try(work: Callable[[], Any], future: "asyncio.Future[Any]") -> Outcome:
    try:
        return future, work(), None
    except BaseException as error:  # raised where the answer is awaited
        return future, None, error
