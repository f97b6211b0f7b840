"""What a worker of the model is at: attempts whose handlers are tasks of the model, and who waits for them in the model's time."""

from shared.db.ledger import ClaimedRun
from tests.model.cluster import Cluster
from worker_svc.attempts import Attempts, Stop
from worker_svc.lease import Lease


class Stopped(Exception):
    """What a handler sees of being cancelled."""


class Attempt:
    """What the product takes for its `Attempt`; the handler is a task of the model."""

    def __init__(self, run: ClaimedRun, lease: Lease) -> None:
        self.run, self.lease = run, lease
        self.stopped: Stop | None = None

    def stop(self, why: Stop) -> None:
        if self.stopped is None or why is Stop.LOST:
            self.stopped = why
        if why is Stop.LOST:
            self.lease.lose()

    def work(self, seconds: float) -> None:
        """Time that the handler needs; it hears when it is told to stop."""
        Cluster.here().wait_until(lambda: self.stopped is not None, seconds)
        if self.stopped is not None:
            raise Stopped


class Running(Attempts):
    """The worker's attempts; who waits for their end waits in the model's time."""

    async def ended(self, within_s: float) -> bool:
        Cluster.here().wait_until(lambda: not len(self), within_s)
        return not len(self)
