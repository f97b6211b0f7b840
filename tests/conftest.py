"""Real servers for the tests: one PostgreSQL and one Valkey per pytest-xdist worker, started when first asked for.

A test that stops or reconfigures a server takes a private one.
"""

import gc
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from tests.databases import Databases
from tests.schedule import Schedule, spread
from tests.scratch import scratch_directory

# A busy machine is no finding, and a suite that draws anew each time is red by chance: `make fuzz` and `make model` search.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

POSTGRES_SETTINGS = {
    # Nobody pulls the plug in a test: what a killed server has written is in the page cache.
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule | None:
    return Schedule(config, log) if config.getvalue("dist") == "load" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one process of several
        items[:] = spread(items)


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """For servers' data; removed at the end, also when the tests are killed."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def postgres_server(server_directory: Path) -> Iterator[EmbeddedPostgres]:
    """Shared by this worker's tests: leave it running, with its settings."""
    with EmbeddedPostgres(server_directory / "postgres", settings=POSTGRES_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(server_directory: Path) -> Iterator[EmbeddedValkey]:
    """Shared by this worker's tests: leave it running, with its settings."""
    with EmbeddedValkey(server_directory / "valkey", appendonly=False) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres_server: EmbeddedPostgres) -> Databases:
    return Databases(postgres_server)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A database of the test's own, with the current schema and no rows."""
    url = databases.create_migrated()
    yield url
    databases.drop(url)


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """A database of the test's own, without tables."""
    url = databases.create_empty()
    yield url
    databases.drop(url)


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    """A Redis that is empty and that no other test uses meanwhile."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture
def private_postgres(server_directory: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Call it for a started server of the test's own (keywords are server settings); its `url` has no tables."""
    with ExitStack() as servers:

        def start(**settings: str) -> EmbeddedPostgres:
            directory = server_directory / f"postgres-{next(_numbers)}"
            return servers.enter_context(
                EmbeddedPostgres(directory, settings={**POSTGRES_SETTINGS, **settings})
            )

        yield start


@pytest.fixture
def private_valkey(server_directory: Path) -> Iterator[Callable[..., EmbeddedValkey]]:
    """Call it for a started server of the test's own; keywords are those of EmbeddedValkey. It is persistent."""
    with ExitStack() as servers:

        def start(*, appendonly: bool = True, settings: dict[str, str] | None = None) -> EmbeddedValkey:
            directory = server_directory / f"valkey-{next(_numbers)}"
            return servers.enter_context(EmbeddedValkey(directory, appendonly=appendonly, settings=settings))

        yield start


_numbers = itertools.count(1)
