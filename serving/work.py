"""Threads that do the work, and how many requests may wait for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.problems import Problem

T = TypeVar("T")


class Queue:
    """At most `limit` requests wait or are being worked on; further ones are told to come again."""

    def __init__(self, limit: int, workers: int) -> None:
        self.limit, self.length = limit, 0
        self._pool = ThreadPoolExecutor(workers, "work")

    async def run(self, work: Callable[[], T]) -> T:
        """Have a thread do it. Raises `Problem` 429 if the queue is full."""
        if self.length >= self.limit:
            raise Problem(
                429, f"{self.length} requests are waiting already", headers={"Retry-After": "1"}
            )
        self.length += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.length -= 1
