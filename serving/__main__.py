"""Classify images over HTTP: python -m serving [--model URL]

URL is a model folder, or a deployment (a folder or s3://bucket/prefix). The server follows a
deployment: it loads a new model next to the old one, tests it on its golden images, and replaces
the old one between two requests.

If DIGITS_SERVING_TOKEN is set in the environment, requests must have the header
Authorization: Bearer TOKEN.
"""

import argparse
import asyncio
import gc
import logging.config
import math
import re
import signal
import time
from contextlib import nullcontext, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from types import FrameType

import scipy.ndimage  # noqa: F401  imported at the start, so that the first photo is not slow
import uvicorn
from uvicorn.config import LOGGING_CONFIG

from digits.core import command_line, errors
from digits.core.workers import MAX_WORKERS, count_workers
from digits.storage import model_store
from serving import app, middleware, processes, unix_socket
from serving.app_state import AppState
from serving.counts import Counts
from serving.http_protocol import HttpProtocol
from serving.live_model import LiveModel, log
from serving.processes import Workers
from serving.worker_pool import WorkerPool

LOCAL = ("127.0.0.1", "::1", "localhost")
PORT = 8000
LABEL = r"[A-Za-z0-9_-]{1,63}"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*\.?|[0-9a-fA-F:.]+(%\w+)?")  # a name or IPv4; IPv6
ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
DAY_S = 86_400
STOP_S = 20  # to finish the requests in flight; SageMaker kills 30 s after SIGTERM


class Server(uvicorn.Server):
    """On SIGTERM, turns /readyz red, answers requests for `drain_s` seconds more, then stops.

    With a parent, also stops at its message or end, and leaves Ctrl-C and further signals to it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: AppState,
        drain_s: float,
        started: str,
        parent: Connection | None,
    ) -> None:
        super().__init__(config)
        self.state, self.drain_s, self.parent = state, drain_s, parent
        self.announcement = started  # `started` is uvicorn's
        self.stop_at = float("inf")

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.parent:
            asyncio.get_running_loop().add_reader(self.parent.fileno(), self.stop)
            with suppress(OSError):  # it has ended, so `stop` is called
                self.parent.send(None)
        else:
            log.info(self.announcement)

    def stop(self) -> None:
        assert self.parent is not None
        asyncio.get_running_loop().remove_reader(self.parent.fileno())
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self.state.draining:
            log.info(
                "takes requests for %g s more, then finishes them within %d s", self.drain_s, STOP_S
            )
            self.state.draining = True
            self.stop_at = time.monotonic() + self.drain_s
        elif self.parent is None:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        self.state.counts.tick()
        self.state.metrics.publish()
        return await super().on_tick(counter) or time.monotonic() > self.stop_at


def main() -> None:
    args = parse_args()
    counts = Counts(args.workers)
    with unix_socket.listen(args.uds) if args.uds else nullcontext() as listener:
        sockets = [listener] if listener else processes.bind(args.host, args.port)
        address = f"the Unix socket {args.uds}" if listener else url(args.host, sockets[0])
        started = f"running on {address} (Press CTRL+C to quit)"
        work = partial(serve, args, middleware.token(), counts, sockets, started)
        if args.workers == 1:
            work()
        else:
            logging.config.dictConfig(LOGGING_CONFIG)
            Workers(counts, work, sockets, f"{args.workers} processes {started}").run()


def url(host: str, listener: socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def serve(
    args: argparse.Namespace,
    token: str | None,
    counts: Counts,
    sockets: list[socket],
    started: str,
    number: int = 0,
    parent: Connection | None = None,
) -> None:
    """Serve until a signal.

    Parameters
    ----------
    args : of the command
    token : that requests must have; None if they need none
    counts : shared by all processes
    sockets : to listen on
    started : the line to log when it serves, if it has no parent
    number : of this process
    parent : the link to the process that started several of this kind; None if this is the only one
    """
    counts.use(number)
    live_model = LiveModel(model_store.locate(args.model, args.stage))
    threads = math.ceil(count_workers() / args.workers)
    state = AppState(live_model, WorkerPool(args.queue, threads), counts)
    config = uvicorn.Config(
        app.create(state, token, args.root_path),
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        workers=1,  # or uvicorn reads WEB_CONCURRENCY
        server_header=False,
        access_log=False,  # the middleware writes it
        timeout_keep_alive=75,  # longer than a load balancer's, so that the balancer closes first
        timeout_graceful_shutdown=STOP_S,
    )
    log.info("serves %s from %s", live_model.served, live_model.location.url)
    if args.host not in LOCAL and token is None and number == 0:
        log.warning("%s accepts other machines, and %s is not set", args.host, middleware.TOKEN)
    live_model.follow(args.poll)
    gc.freeze()  # the garbage collector need not look at what was loaded so far
    Server(config, state, args.drain, started, parent).run(sockets)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("serving", __doc__)
    parser.add_argument(
        "--model",
        metavar="URL",
        help="default: models/digit-classifier, or else demo/digit-classifier",
    )
    parser.add_argument(
        "--stage",
        choices=model_store.ENVIRONMENTS,
        default="production",
        help="environment of the deployment; default: production",
    )
    parser.add_argument("--host", help="default: 127.0.0.1; 0.0.0.0 accepts other machines")
    parser.add_argument("--port", type=int, help=f"default: {PORT}; 0 picks a free port")
    parser.add_argument(
        "--uds", metavar="PATH", type=Path, help="listen on a Unix socket, not on a port"
    )
    parser.add_argument(
        "--root-path",
        metavar="PREFIX",
        default="",
        help="where a proxy shows the server, such as /digits; with or without the prefix, a path "
        "is the same",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=int,
        default=1,
        help="number of processes that serve on the same port; default: 1",
    )
    parser.add_argument(
        "--queue",
        metavar="N",
        type=int,
        default=64,
        help="number of requests that may wait in each process (default: %(default)s)",
    )
    parser.add_argument(
        "--poll",
        metavar="S",
        type=float,
        default=5.0,
        help="seconds between two reads of the deployment's pointer (default: %(default)g)",
    )
    parser.add_argument(
        "--drain",
        metavar="S",
        type=float,
        default=3.0,
        help="seconds to accept requests after SIGTERM, with /readyz red (default: %(default)g)",
    )
    args = parser.parse_args()
    if args.uds and (args.host, args.port) != (None, None):
        parser.error("--uds replaces --host and --port; leave them out")
    args.host = LOCAL[0] if args.host is None else args.host
    args.port = PORT if args.port is None else args.port
    args.root_path = args.root_path.rstrip("/")
    if not 0 <= args.port <= 65535:
        parser.error(f"--port is {args.port}; expected 0 to 65535")
    if not HOST.fullmatch(args.host):
        parser.error(f"--host is {args.host!r}; expected an address or a name, without a port")
    if not ROOT_PATH.fullmatch(args.root_path):
        parser.error(f"--root-path is {args.root_path!r}; expected a path such as /digits")
    if args.root_path.partition("/")[2].partition("/")[0] in (own := app.segments()):
        parser.error(
            f"--root-path is {args.root_path!r}, and the server has such paths itself; choose one "
            f"that does not start with {', '.join(sorted(own))}"
        )
    if not 1 <= args.workers <= MAX_WORKERS:
        parser.error(f"--workers is {args.workers}; expected 1 to {MAX_WORKERS}")
    if args.queue < 1:
        parser.error(f"--queue is {args.queue}; expected 1 or more")
    if not 0 < args.poll <= DAY_S:
        parser.error(f"--poll is {args.poll:g}; expected more than 0 seconds, and at most {DAY_S}")
    if not 0 <= args.drain <= DAY_S:
        parser.error(f"--drain is {args.drain:g}; expected 0 to {DAY_S} seconds")
    return args


if __name__ == "__main__":
    errors.run(main)
