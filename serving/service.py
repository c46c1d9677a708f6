"""Images in, probabilities out: by the model that answers now, on a thread, counted."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request, Response

from digits import metrics
from digits.metrics import Floats
from serving.bodies import Decode, Images
from serving.current import Current, Served
from serving.monitor import Monitor
from serving.problems import Problem
from serving.work import Queue


@dataclass(frozen=True)
class Answer:
    """What a model says of images: float64 (n, classes), rows sum to 1."""

    served: Served
    images: Images
    probabilities: Floats

    @property
    def predicted(self) -> list[str]:
        classes = self.served.classifier.classes
        return [classes[k] for k in self.probabilities.argmax(axis=1).tolist()]


@dataclass
class Service:
    """What all requests share."""

    current: Current
    queue: Queue
    monitor: Monitor = field(init=False)
    draining: bool = False  # about to stop: this server wants no new requests

    def __post_init__(self) -> None:
        self.monitor = Monitor(self.current, self.queue)

    async def answer(self, decode: Decode, render: Callable[[Answer], Response]) -> Response:
        """What comes of a request. Raises `Problem` if the queue is full, or what `decode` does."""
        served = self.current.served  # whatever comes after it, one model answers all of a request

        def work() -> tuple[Answer, Response]:
            images = decode(served.classifier)
            answer = Answer(served, images, metrics.softmax(served.classifier.logits(images)))
            return answer, render(answer)

        answer, response = await self.queue.run(work)
        self.monitor.answered(served, answer.probabilities)
        return response

    def check_ready(self) -> None:
        if self.draining:
            raise Problem(503, "This server is about to stop")


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
