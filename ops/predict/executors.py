"""Compute the parts of a batch on this machine's cores, a Ray cluster, or a SageMaker endpoint.

Each executor takes the pending parts and yields the rows of each part when it is done, in any
order. Only a few parts are in memory at a time.
"""

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
    context = get_context("spawn")  # threads of this process would not survive a fork
    resource_tracker.ensure_running()  # to start it lets interrupts through
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:

        def submit(chunk: Chunk) -> Future[bytes]:
            with _interrupts_held():
                return pool.submit(task.run, chunk)

        try:
            yield from _some_at_a_time(pending, 2 * workers, submit)
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed, perhaps for lack of memory. The same command "
                "continues; to use less memory: DIGITS_COMPUTE_WORKERS=1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _some_at_a_time(pending: Pending, limit: int, submit: Callable[[Chunk], Future[bytes]]) -> Done:
    """Submit parts, so that at most `limit` of them run or wait, and yield what comes."""
    pending = iter(pending)
    running: dict[Future[bytes], int] = {}
    while True:
        for number, chunk in islice(pending, limit - len(running)):
            running[submit(chunk)] = number
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


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
    import ray

    files = ray.put(
        tuple((name, (task.model / name).read_bytes()) for name in model_store.MODEL_FILES)
    )
    run = ray.remote(batch.run_on_node)
    cores = max(1, int(ray.cluster_resources().get("CPU", 0)))

    def submit(chunk: Chunk) -> Future[bytes]:
        answer: Future[bytes] = run.remote(files, task.source, chunk, task.threshold).future()
        return answer

    try:
        yield from _some_at_a_time(pending, 2 * cores, submit)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"Ray failed: {reason}. The same command continues") from error


@cache
def _load(folder: Path) -> Classifier:
    return Classifier.load(folder)
