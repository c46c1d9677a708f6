"""Answer over HTTP: python -m serving [--model URL]

URL is a model folder, or a deployment (a folder or s3://bucket/prefix), which is followed: a new
model is loaded beside the old one, tried on its golden images, and takes over between two requests.

With DIGITS_SERVING_TOKEN in the environment, requests must bear it (Authorization: Bearer ...).
"""

import argparse
import signal
import time
from types import FrameType

import scipy.ndimage  # noqa: F401  now, so that the first photo need not wait for it
import uvicorn

from digits.core import command_line, errors
from digits.core.workers import count_workers
from digits.storage import model_store
from serving import app, middleware
from serving.live_model import Current, log
from serving.protocol import Protocol
from serving.service import Service
from serving.worker_pool import Queue

LOCAL = ("127.0.0.1", "::1", "localhost")
STOP_S = 20  # for what is in flight; SageMaker, for one, kills 30 s after SIGTERM


class Server(uvicorn.Server):
    """On SIGTERM, answers for `drain_s` more, while /readyz sends elsewhere; then stops."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_s: float) -> None:
        super().__init__(config)
        self.service, self.drain_s = service, drain_s
        self.stop_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self.service.draining:
            log.info("stops in %g s, and in no more than %d after that", self.drain_s, STOP_S)
            self.service.draining = True
            self.stop_at = time.monotonic() + self.drain_s
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or time.monotonic() > self.stop_at


def main() -> None:
    args = parse_args()
    token = middleware.token()
    current = Current(model_store.locate(args.model, args.stage))
    service = Service(current, Queue(args.queue, count_workers()))
    config = uvicorn.Config(
        app.create(service, token),
        host=args.host,
        port=args.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_keep_alive=75,  # longer than load balancers keep a connection, so that they end it
        timeout_graceful_shutdown=STOP_S,
    )
    log.info("serves %s from %s", current.served, current.location.url)
    if args.host not in LOCAL and token is None:
        log.warning("%s is open to others, and %s is not set", args.host, middleware.TOKEN)
    current.follow(args.poll)
    Server(config, service, args.drain).run()


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("serving", __doc__)
    parser.add_argument("--model", metavar="URL", help="default: models/digit-classifier, or demo/")
    parser.add_argument("--stage", choices=model_store.STAGES, default="production")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 to let others in")
    parser.add_argument("--port", type=int, default=8000, help="0 is any that is free")
    parser.add_argument("--queue", metavar="N", type=int, default=64, help="requests that may wait")
    parser.add_argument(
        "--poll", metavar="S", type=float, default=5.0, help="seconds between looks at the pointer"
    )
    parser.add_argument(
        "--drain",
        metavar="S",
        type=float,
        default=3.0,
        help="seconds from SIGTERM, and a red /readyz, until no connection is taken any more",
    )
    args = parser.parse_args()
    if args.queue < 1 or args.poll <= 0 or args.drain < 0:
        parser.error("--queue is 1 or more, --poll more than 0, --drain 0 or more")
    return args


if __name__ == "__main__":
    errors.run(main)
