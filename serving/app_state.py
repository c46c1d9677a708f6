"""The state that all requests share."""

from dataclasses import dataclass, field

from fastapi import Request

from serving.counts import Counts
from serving.live_model import LiveModel
from serving.problem_details import Problem
from serving.prometheus import PrometheusMetrics
from serving.request_body import ArrivingBodies
from serving.worker_pool import WorkerPool


@dataclass
class AppState:
    """The live model, the threads that run it, and what is counted and limited for all requests."""

    live_model: LiveModel
    pool: WorkerPool
    counts: Counts = field(default_factory=Counts)
    metrics: PrometheusMetrics = field(init=False)
    arriving: ArrivingBodies = field(default_factory=ArrivingBodies)
    draining: bool = False  # SIGTERM came: load balancers should send requests elsewhere

    def __post_init__(self) -> None:
        self.metrics = PrometheusMetrics(self.live_model, self.pool, self.counts)

    def check_ready(self) -> None:
        """Raise `Problem` 503 if the server is about to stop."""
        if self.draining:
            raise Problem(503, "This server is about to stop")


def state_of(request: Request) -> AppState:
    """The state of the application that received the request."""
    state: AppState = request.app.state.serving
    return state
