"""Who computes the parts of a batch: the cores of this machine, a Ray cluster, or an endpoint.

Each takes parts as they are pending and gives the rows of each as it is done, in any order; only a
few are in memory at a time.
"""

import logging
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from digits.core.errors import InputError
from digits.core.workers import count_workers
from digits.model.classifier import Classifier
from digits.storage import model_store
from digits.storage.filesystem import CONNECT_S
from ops.predict import batch
from ops.tools.inputs import Chunk, Source
from ops.tools.processes import end_with_parent

Pending = Iterable[tuple[int, Chunk]]
Done = Iterator[tuple[int, bytes]]  # as `batch.to_bytes` makes them


@dataclass(frozen=True)
class Work:
    """What is done with each part: by the model in a local folder, on the files of a source."""

    model: Path
    source: Source
    threshold: float

    def do(self, chunk: Chunk) -> bytes:
        model = _load(self.model)
        return batch.to_bytes(batch.predict(model, self.source, chunk, self.threshold))


Engine = Callable[[Work, Pending, int], Done]  # the last: how many parts are pending


def local(work: Work, pending: Pending, parts: int) -> Done:
    """On all cores, a process each; a single part is done in this one."""
    workers = min(count_workers(), parts)
    if workers <= 1:
        yield from ((number, work.do(chunk)) for number, chunk in pending)
        return
    pending = iter(pending)
    context = get_context("spawn")  # threads of this process would not survive a fork
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        running: dict[Future[bytes], int] = {}
        try:
            while True:
                for number, chunk in islice(pending, 2 * workers - len(running)):
                    running[pool.submit(work.do, chunk)] = number
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise InputError(
                "a process was killed: was there too little memory? The same command again goes "
                "on; with less at once: DIGITS_COMPUTE_WORKERS=1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def on_endpoint(name: str, work: Work, pending: Pending, parts: int) -> Done:
    """By a SageMaker endpoint that serves the same model; images are read here."""
    from ops.tools.sagemaker import aws, hosting  # boto3

    with aws.explained():
        model = hosting.remote(name, work.model)
        for number, chunk in pending:
            rows = batch.predict(model, work.source, chunk, work.threshold)
            yield number, batch.to_bytes(rows)


def on_ray(work: Work, pending: Pending, parts: int) -> Done:
    """On a Ray cluster: the one that RAY_ADDRESS names, else one on this machine."""
    try:
        import ray.data
    except ModuleNotFoundError:
        raise InputError(
            "Ray is not installed. Here: make .venv/scale; every node needs requirements-scale.txt"
        ) from None
    files = {name: (work.model / name).read_bytes() for name in model_store.MODEL_FILES}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _check_reachable(address)
    here = {} if address else {"num_cpus": count_workers()}
    root = Path(__file__).parents[2]
    code = {"py_modules": [str(root / "digits"), str(root / "ops")]}  # on the nodes, as it is here
    ray.init(runtime_env=code, log_to_driver=False, logging_level=logging.ERROR, **here)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # there is one already
    cores = int(ray.cluster_resources()["CPU"])
    chunks = [{"number": number, "chunk": chunk.to_json()} for number, chunk in pending]
    done = ray.data.from_items(chunks, override_num_blocks=len(chunks)).map(
        batch.Worker,
        fn_constructor_args=(files, work.source, work.threshold),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(parts, cores)),
    )
    try:
        for row in done.iter_rows():
            yield row["number"], row["rows"]
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"Ray gave up: {reason}. The same command again goes on") from error


def _check_reachable(address: str) -> None:
    """Ray itself would wait for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), CONNECT_S).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}") from None


@cache
def _load(folder: Path) -> Classifier:
    return Classifier.load(folder)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process tells the others to end
    end_with_parent()
