"""Options, rows and clusters."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.db.migrate import upgrade
from tests.chaos.business import BY_HAND
from tests.chaos.report import PAGE
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.matrix import MATRIX
from tests.chaos.rig.report import PROPERTY, ChaosReport, rows_of, wanted_rows
from tests.databases import Databases

MakeCluster = Callable[..., Cluster]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--rows", default="", help='rows of the fault matrix, such as "2 16 22"; all if empty')
    group.addoption("--chaos-json", type=Path, help="file for the table of the fault matrix, as JSON")
    group.addoption("--chaos-write", action="store_true", help="write the table into docs/reliability.md")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    page = PAGE if config.getoption("--chaos-write", False) else None
    if page and wanted_rows(config.getoption("--rows")) != frozenset(MATRIX):
        raise pytest.UsageError("--chaos-write: the page is for all rows")
    config.pluginmanager.register(ChaosReport(config.getoption("--chaos-json", None), page), "chaos-report")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = wanted_rows(config.getoption("--rows", ""))
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        rows = rows_of(item)
        item.user_properties += [(PROPERTY, row) for row in rows]
        (dropped if rows and not wanted.intersection(rows) else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture
def make_cluster(
    databases: Databases,
    redis_url: str,
    private_postgres: Callable[..., EmbeddedPostgres],
    private_valkey: Callable[..., EmbeddedValkey],
    tmp_path: Path,
) -> Iterator[MakeCluster]:
    """Call it for a cluster. `private` names the servers that the test may stop, fill and restart: `postgres`, `valkey`;
    `postgres` and `valkey` are keywords of the fixtures `private_postgres` and `private_valkey`, which imply it.
    `stripe` and `brevo` are settings of the sandboxes, `env` of our processes.
    """
    with ExitStack() as ends:

        def make(
            *private: str,
            postgres: dict[str, str] | None = None,
            valkey: dict[str, Any] | None = None,
            **settings: Any,
        ) -> Cluster:
            own_postgres = own_valkey = None
            if "postgres" in private or postgres is not None:
                own_postgres = private_postgres(**(postgres or {}))
                upgrade(own_postgres.url)
                database_url = own_postgres.url
            else:
                database_url = databases.create_migrated()
                ends.callback(databases.drop, database_url)
            if "valkey" in private or valkey is not None:
                own_valkey = private_valkey(**(valkey or {}))
            url = own_valkey.url if own_valkey else redis_url
            return ends.enter_context(
                Cluster(tmp_path, database_url, url, postgres=own_postgres, valkey=own_valkey, **settings)
            )

        yield make


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """On the shared servers, with a database of its own: for faults that do not hurt a server."""
    return make_cluster()


@pytest.fixture
def staffed(cluster: Cluster) -> Cluster:
    """With a scheduler and a worker, for rows that begin their work themselves."""
    cluster.start("scheduler", env=BY_HAND)
    cluster.start("worker").wait_ready()
    return cluster
