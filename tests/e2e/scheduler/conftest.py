"""Schedulers as processes, and their books."""

from collections.abc import Iterator

import pytest

from tests.e2e.scheduler.ticking import EVERY_S, TTL_S, Start
from tests.e2e.scheduler_process import SchedulerProcess
from tests.integration.scheduler.books import Books


@pytest.fixture
def start(database_url: str, redis_url: str) -> Iterator[Start]:
    started: list[SchedulerProcess] = []

    def begin(**environment: str) -> SchedulerProcess:
        given = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LEADER_TTL_S": str(TTL_S),
            **environment,
        }
        process = SchedulerProcess(given.pop("DATABASE_URL"), given.pop("REDIS_URL"), **given)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def ticking(books: Books) -> str:
    """A schedule that fires four times a second."""
    books.add("tick", trigger={"type": "interval", "every_s": EVERY_S}, overlap="allow")
    return "tick"
