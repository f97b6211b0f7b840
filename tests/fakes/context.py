"""A handler's context with a log of the test's own."""

from dataclasses import dataclass

from structlog.stdlib import BoundLogger

from worker_svc.context import JobContext


@dataclass(frozen=True, slots=True)
class WatchedContext(JobContext):
    """`watched` stands in for the worker's log."""

    watched: BoundLogger

    @property
    def log(self) -> BoundLogger:
        return self.watched
