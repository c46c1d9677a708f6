"""Images in, probabilities out: by the model that answers now, on a thread, counted."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request, Response

from digits.core.arrays import UInt8Array
from digits.evaluation import metrics
from serving.live_model import Current, Served
from serving.monitor import Monitor
from serving.problems import Problem
from serving.request_body import Decode, Reading
from serving.worker_pool import Queue


@dataclass(frozen=True)
class Answer:
    """What a model says of images: of each its likeliest class, and the probabilities of all."""

    served: Served
    images: UInt8Array
    predicted: list[int]
    probabilities: list[list[float]]

    @property
    def names(self) -> list[str]:
        return [self.served.classifier.classes[k] for k in self.predicted]

    @property
    def confidence(self) -> list[float]:
        return [row[k] for k, row in zip(self.predicted, self.probabilities, strict=True)]


@dataclass
class Service:
    """What all requests share."""

    current: Current
    queue: Queue
    monitor: Monitor = field(init=False)
    reading: Reading = field(default_factory=Reading)
    draining: bool = False  # about to stop: this server wants no new requests

    def __post_init__(self) -> None:
        self.monitor = Monitor(self.current, self.queue)

    async def answer(
        self,
        decode: Decode,
        render: Callable[[Answer], Response],
        served: Served | None = None,
    ) -> Response:
        """What comes of a request. Raises `Problem` if the queue is full, or what `decode` does.

        `served` is the model that was asked for, if one was.
        """
        served = served or self.current.served  # one model answers all of a request

        def work() -> tuple[Answer, Response]:
            images = decode(served.classifier)
            probabilities = metrics.softmax(served.classifier.logits(images)).tolist()
            predicted = [row.index(max(row)) for row in probabilities]
            answer = Answer(served, images, predicted, probabilities)
            return answer, render(answer)

        answer, response = await self.queue.run(work)
        self.monitor.answered(served, answer.predicted, answer.confidence)
        return response

    def check_ready(self) -> None:
        if self.draining:
            raise Problem(503, "This server is about to stop")


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
