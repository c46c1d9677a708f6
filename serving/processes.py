"""Several processes that serve on the same sockets, and their parent, which serves nothing.

A worker sends its parent a message when it serves. It stops when it gets one, or when its parent
has ended, which closes the link between them. The parent replaces a worker that has ended or is
stuck.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from socket import socket
from types import FrameType

from digits.core import errors
from digits.core.errors import InputError
from serving.counts import Counts
from serving.live_model import log
from serving.unix_socket import BACKLOG

# A worker shares the memory of the libraries with its parent. It starts its threads itself.
FORK = get_context("fork")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
RETRY_S = 5  # before a worker is started again whose predecessor could not start
STUCK_S = 60  # without a tick, which is longer than uvicorn takes to stop; then a worker is killed

Serve = Callable[[int, Connection], None]


def bind(host: str, port: int) -> list[socket]:
    """Listen at a port, as uvicorn does; a name may have several addresses.

    Raises
    ------
    InputError
        If the port is in use, or needs rights, or the host is not this machine.
    """

    async def listen() -> list[socket]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, host, port, backlog=BACKLOG)
        return [each.dup() for each in server.sockets]

    try:
        return asyncio.run(listen())
    except OSError as error:
        reason = str(error).rpartition(": ")[2]
        raise InputError(
            f"port {port} of {host} can't be used: {reason}. Choose: --port N, or --host NAME"
        ) from None


@dataclass
class Worker:
    number: int
    process: BaseProcess
    link: Connection
    serves: bool = False
    ticks: float = 0
    quiet_s: int = 0  # without a tick, in seconds of the parent's, which may have been stopped too


class Workers:
    """Keeps a worker running for each process of the counts, until a signal.

    The first one starts alone: if it cannot start, its error is shown once.
    """

    def __init__(self, counts: Counts, serve: Serve, sockets: list[socket], started: str) -> None:
        """Start no worker yet.

        Parameters
        ----------
        counts : that the workers share
        serve : called in each worker with its number and the link to its parent
        sockets : that the workers listen on
        started : the line to log when all of them serve
        """
        self._counts, self._serve, self._started = counts, serve, started
        self._sockets = sockets
        self._workers: list[Worker] = []
        self._signals: list[int] = []  # that came

    def run(self) -> None:
        """Run until all workers have ended.

        Raises
        ------
        SystemExit
            With a worker's exit code, if it cannot start and no other one serves.
        KeyboardInterrupt
            After SIGINT.
        """
        for number in SIGNALS:
            signal.signal(number, self._stop)
        self._start(0)
        while self._workers:
            ready = connection.wait([worker.link for worker in self._workers], timeout=1)
            if not ready:
                self._kill_stuck()
            for link in ready:
                worker = next(each for each in self._workers if each.link is link)
                try:
                    worker.link.recv()
                except (EOFError, OSError):
                    self._replace(worker)
                else:
                    worker.serves = True
                    if len(self._workers) < self._counts.processes:
                        self._start(len(self._workers))
                    elif self._started:
                        log.info(self._started)
                        self._started = ""
        if signal.SIGINT in self._signals:
            raise KeyboardInterrupt

    def _start(self, number: int, pause_s: float = 0) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until all is set for `_stop`
        if not self._signals:
            link, childs = FORK.Pipe()
            links = [*(worker.link for worker in self._workers), link]
            target = partial(_work, self._serve, number, childs, links, pause_s)
            process = FORK.Process(target=errors.run, args=(target,), daemon=True)
            process.start()
            childs.close()
            self._workers.append(Worker(number, process, link))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _kill_stuck(self) -> None:
        """Kill the workers that have not ticked for too long; called once a second."""
        for worker in self._workers:
            before, worker.ticks = worker.ticks, self._counts.ticks(worker.number)
            is_quiet = worker.serves and worker.ticks == before
            worker.quiet_s = worker.quiet_s + 1 if is_quiet else 0
            if worker.quiet_s >= STUCK_S:
                log.error("process %d has been stuck for %d s", worker.process.pid, STUCK_S)
                worker.process.kill()

    def _replace(self, worker: Worker) -> None:
        worker.process.join()
        self._workers.remove(worker)
        worker.link.close()
        code = worker.process.exitcode or 0
        if self._signals:
            return
        if not worker.serves and not any(each.serves for each in self._workers):
            sys.exit(code if code > 0 else 1)
        cause = f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        log.error("process %d has ended %s; starts another one", worker.process.pid, cause)
        self._start(worker.number, 0 if worker.serves else RETRY_S)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Let the workers drain after SIGTERM; finish at the next signal; end at another Ctrl-C."""
        before, self._signals = self._signals, [*self._signals, number]
        for listener in self._sockets:  # else clients could connect when no worker is left
            listener.close()
        for worker in self._workers:
            if number == signal.SIGTERM and not before:
                worker.process.terminate()
            elif before in ([], [signal.SIGTERM]):
                with suppress(OSError):  # it has just ended
                    worker.link.send(None)
            elif number == signal.SIGINT:
                worker.process.kill()


def _work(
    serve: Serve, number: int, parent: Connection, links: list[Connection], pause_s: float
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to all processes
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for link in links:  # the parent's ends, which must not outlive it
        link.close()
    if not parent.poll(pause_s):
        serve(number, parent)
