"""Threads that do the work, and how many requests may wait for them."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from serving.problems import Problem

T = TypeVar("T")
Task = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Queue:
    """At most `limit` requests wait or are being worked on; further ones are told to come again.

    Results go back to the event loop together where several are ready: to wake it for each takes
    longer than to classify an image (benchmarks/server.py), as does `run_in_executor`.
    """

    def __init__(self, limit: int, workers: int) -> None:
        self.limit, self.length = limit, 0
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        for _ in range(workers):
            threading.Thread(target=self._work, name="work", daemon=True).start()

    async def run(self, work: Callable[[], T]) -> T:
        """Have a thread do it. Raises `Problem` 429 if the queue is full."""
        if self.length >= self.limit:
            raise Problem(
                429, f"{self.length} requests are waiting already", headers={"Retry-After": "1"}
            )
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.length += 1
        try:
            self._tasks.put((work, future))
            return await future
        finally:
            self.length -= 1

    def _work(self) -> None:
        while True:
            work, future = self._tasks.get()
            try:
                found = (future, work(), None)
            except BaseException as error:
                found = (future, None, error)
            is_first = not self._done
            self._done.append(found)
            if is_first:
                future.get_loop().call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():  # cancelled: the server ends
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
