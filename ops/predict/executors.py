"""Compute the parts of a batch on this machine's cores, a Ray cluster, or a SageMaker endpoint.

Each executor takes the pending parts and yields the rows of each part when it is done, in any
order. Only a few parts are in memory at a time.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from digits.core.errors import InputError
from digits.core.workers import count_workers, end_with_parent
from digits.model.classifier import Classifier
from digits.storage import model_store
from ops.predict import batch
from ops.tools import ray_cluster
from ops.tools.inputs import Chunk, Input

Pending = Iterable[tuple[int, Chunk]]  # by the parts' numbers
Done = Iterator[tuple[int, bytes]]  # as `batch.to_bytes` returns them


@dataclass(frozen=True)
class Task:
    """Classify chunks of an input by the model in a local folder."""

    model: Path
    source: Input
    threshold: float

    def run(self, chunk: Chunk) -> bytes:
        model = _load(self.model)
        return batch.to_bytes(batch.predict(model, self.source, chunk, self.threshold))


Executor = Callable[[Task, Pending, int], Done]  # the number is that of the pending parts


def local(task: Task, pending: Pending, parts: int) -> Done:
    """Compute on this machine: a process per core, or in this process if there is one part."""
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
    from multiprocessing import get_context, resource_tracker

    workers = min(count_workers(), parts)
    if workers <= 1:
        yield from ((number, task.run(chunk)) for number, chunk in pending)
        return
    pending = iter(pending)
    context = get_context("spawn")  # threads of this process would not survive a fork
    resource_tracker.ensure_running()  # to start it lets interrupts through
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
        running: dict[Future[bytes], int] = {}
        try:
            while True:
                for number, chunk in islice(pending, 2 * workers - len(running)):
                    with _interrupts_held():
                        running[pool.submit(task.run, chunk)] = number
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed, perhaps for lack of memory. The same command "
                "continues; to use less memory: DIGITS_COMPUTE_WORKERS=1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have Ctrl-C wait until the block has ended; in processes that it starts, for ever."""
    held: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    # Processes inherit this. Here another thread may still receive it, hence the handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, usual)
        if held:
            signal.raise_signal(signal.SIGINT)


def on_endpoint(name: str, task: Task, pending: Pending, parts: int) -> Done:
    """Read the images here, and have a SageMaker endpoint with the same model classify them."""
    from ops.tools.sagemaker import aws, hosting  # boto3

    with aws.explained():
        model = hosting.remote(name, task.model)
        for number, chunk in pending:
            rows = batch.predict(model, task.source, chunk, task.threshold)
            yield number, batch.to_bytes(rows)


def on_ray(task: Task, pending: Pending, parts: int) -> Done:
    """Compute on the Ray cluster at RAY_ADDRESS, or on a new one on this machine."""
    ray_cluster.connect()
    import ray.data

    files = {name: (task.model / name).read_bytes() for name in model_store.MODEL_FILES}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # we show our own
    cores = int(ray.cluster_resources()["CPU"])
    chunks = [{"number": number, "chunk": chunk.to_json()} for number, chunk in pending]
    done = ray.data.from_items(chunks, override_num_blocks=len(chunks)).map(
        batch.Worker,
        fn_constructor_args=(files, task.source, task.threshold),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(parts, cores)),
    )
    try:
        for row in done.iter_rows():
            yield row["number"], row["rows"]
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"Ray failed: {reason}. The same command continues") from error


@cache
def _load(folder: Path) -> Classifier:
    return Classifier.load(folder)
