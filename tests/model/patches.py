"""The product's modules on the model's clocks: who reads one gets that of the host of the process that is running."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

import scheduler_svc.firing
import scheduler_svc.outages
import scheduler_svc.reading
import scheduler_svc.redis_memory
import scheduler_svc.relay
import scheduler_svc.sweeper
import scheduler_svc.sync
import scheduler_svc.term
import shared.enqueue
import shared.health
import worker_svc.decisions
import worker_svc.drain
import worker_svc.heartbeat
import worker_svc.intake
import worker_svc.recorder
import worker_svc.verdict
from shared.core.backoff import RetryPolicy
from shared.core.jobspec import JobSpec
from tests.model.attempts import Attempt
from tests.model.cluster import Cluster
from tests.model.jobs import JOBS
from tests.model.world import drive
from worker_svc.lease import Lease


def monotonic() -> float:
    world = Cluster.here()
    process = world.booting if world.current is None else world.current.process
    return world.now if process is None else process.monotonic()


async def _sleep(seconds: float) -> None:
    Cluster.here().sleep(seconds)


@asynccontextmanager
async def _timeout(seconds: float) -> AsyncIterator[None]:
    """What waits within is bounded by the servers' own time-outs."""
    yield


class _Loop:
    """A task that nobody waits for runs at once: between any two of its steps others may run all the same."""

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> "_Loop":
        drive(coroutine)
        return self

    def add_done_callback(self, done: Callable[["_Loop"], None]) -> None:
        done(self)

    def cancelled(self) -> bool:
        return False


async def _no_strangers(redis: Any) -> list[str]:
    return []  # nobody else uses the model's Redis


class _SweepersJobs(dict[str, JobSpec[Any]]):
    """Without rule 13 every loss is retried at once."""

    def get(self, name: str, default: Any = None) -> Any:
        job = JOBS.get(name)
        if job is None or Cluster.here().rules.on(13):
            return job
        at_once = RetryPolicy(max_attempts=job.retry.max_attempts, base_s=1e-6, cap_s=1e-6)
        return SimpleNamespace(retry=at_once)


def patch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=monotonic, sleep=lambda s: Cluster.here().sleep(s))
    rand = SimpleNamespace(random=lambda: Cluster.here().random.random())
    quiet = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    loop = SimpleNamespace(sleep=_sleep, timeout=_timeout, Event=asyncio.Event, get_running_loop=_Loop)
    changes: dict[Any, dict[str, Any]] = {
        scheduler_svc.firing: {"time": clock, "log": quiet},
        scheduler_svc.outages: {"time": clock},
        scheduler_svc.reading: {"time": clock},
        scheduler_svc.redis_memory: {"set_aside": _no_strangers, "log": quiet},
        scheduler_svc.relay: {"time": clock, "log": quiet},
        scheduler_svc.sweeper: {"time": clock, "random": rand, "JOBS": _SweepersJobs(), "log": quiet},
        scheduler_svc.sync: {"log": quiet, "JOBS": JOBS},
        scheduler_svc.term: {"log": quiet, "JOBS": JOBS},
        shared.health: {"log": quiet},
        shared.enqueue: {"asyncio": loop, "log": quiet},
        worker_svc.decisions: {"JOBS": JOBS, "random": rand},
        worker_svc.drain: {"log": quiet},
        worker_svc.heartbeat: {"time": clock, "JOBS": JOBS, "log": quiet},
        worker_svc.intake: {
            "time": clock,
            "Attempt": Attempt,
            "Lease": lambda at, s: Lease(at, s, monotonic),
            "log": quiet,
        },
        worker_svc.recorder: {"asyncio": loop, "log": quiet},
        worker_svc.verdict: {"JOBS": JOBS},
    }
    for module, names in changes.items():
        for name, value in names.items():
            monkeypatch.setattr(module, name, value)
