"""Real processes on real servers."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from shared.db.engine import sync_engine
from tests.e2e.processes import Process
from tests.integration.scheduler.books import Books


@pytest.fixture
def processes(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Call it with a module (`worker_svc`) and settings for a started process on the test's servers; all are killed at
    the end."""
    started: list[Process] = []
    numbers = itertools.count(1)

    def start(module: str, **settings: str) -> Process:
        environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, **settings}
        process = Process(module, environment, tmp_path / f"{module}-{next(numbers)}.log")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        # Shown where the test failed.
        sys.stdout.write(
            f"---- {process.module} {process.pid}, status {process.status}\n{process.output[-6000:]}\n"
        )


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(database_url, application="test", bound_s=10)
    yield engine
    engine.dispose()


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)
