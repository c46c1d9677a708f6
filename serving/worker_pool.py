"""Run the work of requests, on worker threads or at once; limit how many requests may wait."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from serving.problem_details import Problem

SMALL_BYTES = 4096  # of a body, for `run_here`: an image of MNIST's has 300 as PNG, 3,000 as JSON
BATCH_S = 0.003  # for which a worker collects results before it delivers them
POLL_S = 0.01  # between two looks of the event loop for results not yet delivered

P = ParamSpec("P")
T = TypeVar("T")
Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]
Result = tuple["asyncio.Future[Any]", Any, BaseException | None]


class WorkerPool:
    """Threads that run functions for the event loop.

    asyncio's own executor wakes the event loop for each result, which costs as much CPU time as the
    classification of an image. A worker here runs the calls that wait for a few milliseconds and
    delivers their results together. If one of these calls takes long, the event loop fetches the
    finished results itself, by a timer.

    Images of two requests never share a batch: it saves little, and the last digits of an answer
    would depend on who else sent a request.
    """

    def __init__(self, limit: int, workers: int) -> None:
        """Start `workers` threads for at most `limit` calls, those that wait included."""
        self.limit, self.pending = limit, 0
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self._results: deque[Result] = deque()
        self._timer: asyncio.TimerHandle | None = None  # set while calls are pending
        for _ in range(workers):
            threading.Thread(target=self._work, name="worker", daemon=True).start()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function on a worker thread; return or raise what it does.

        Raises
        ------
        Problem
            429, if `limit` calls are pending.
        """
        self._check_limit()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._timer = self._timer or loop.call_later(POLL_S, self._poll)
        self.pending += 1
        try:
            self._calls.put((partial(function, *args, **kwargs), future))
            return await future
        finally:
            self.pending -= 1
            del future  # it and its exception, which has this frame, would keep the body

    async def run_here(
        self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await the function on the event loop: for calls that take less than a thread's hand-over.

        All requests that have arrived are admitted or refused first, so that no more than `limit`
        run before the event loop looks at its connections again. Where the function sleeps for 0 s,
        the others catch up: what one step needs stays in the processor's caches for all of them.
        """
        self._check_limit()
        self.pending += 1
        try:
            await asyncio.sleep(0)
            if self.pending == 1:
                return at_once(function, *args, **kwargs)
            return await function(*args, **kwargs)
        finally:
            self.pending -= 1

    def _check_limit(self) -> None:
        if self.pending >= self.limit:
            detail = f"{self.pending} requests are already waiting"
            raise Problem(429, detail, headers={"Retry-After": "1"})

    def _work(self) -> None:
        while True:
            function, future = self._calls.get()
            loop, end = future.get_loop(), time.monotonic() + BATCH_S
            self._results.append((future, *_call(function)))
            with suppress(Empty):
                while time.monotonic() < end:
                    function, future = self._calls.get_nowait()
                    self._results.append((future, *_call(function)))
            with suppress(RuntimeError):  # the loop is closed, so nobody waits for the results
                loop.call_soon_threadsafe(self._deliver)

    def _poll(self) -> None:
        self._deliver()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(POLL_S, self._poll) if self.pending else None

    def _deliver(self) -> None:
        while self._results:
            future, value, error = self._results.popleft()
            if future.done():  # cancelled, because the server stops
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


def at_once(function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns; it awaits nothing but sleeps of 0 s, so it needs no event loop."""
    coroutine = function(*args, **kwargs)
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _call(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except BaseException as error:  # as in concurrent.futures: raised where the result is awaited
        return None, error
