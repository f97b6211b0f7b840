"""Options, rows and clusters."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.db.migrate import upgrade
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.report import PROPERTY, ChaosReport, rows_of, wanted_rows

MakeCluster = Callable[..., Cluster]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--rows", default="", help='rows of the fault matrix, such as "2 16 22"; all if empty')
    group.addoption("--chaos-json", type=Path, help="file for the table of the fault matrix, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ChaosReport(config.getoption("--chaos-json", None)), "chaos-report")


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
def make_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeCluster]:
    """Call it for a cluster; with `private` servers the test may stop, fill and restart them.

    `private` holds `postgres`, `valkey` or both; `postgres` and `valkey` are keywords of the fixtures `private_postgres`
    and `private_valkey`. `stripe` and `brevo` are settings of the sandboxes.
    """
    with ExitStack() as clusters:

        def make(
            *private: str,
            postgres: dict[str, str] | None = None,
            valkey: dict[str, Any] | None = None,
            **settings: Any,
        ) -> Cluster:
            own_postgres: EmbeddedPostgres | None = None
            own_valkey: EmbeddedValkey | None = None
            if "postgres" in private or postgres is not None:
                own_postgres = request.getfixturevalue("private_postgres")(**(postgres or {}))
                upgrade(own_postgres.url)
            if "valkey" in private or valkey is not None:
                own_valkey = request.getfixturevalue("private_valkey")(**(valkey or {}))
            return clusters.enter_context(
                Cluster(
                    tmp_path,
                    own_postgres.url if own_postgres else request.getfixturevalue("database_url"),
                    own_valkey.url if own_valkey else request.getfixturevalue("redis_url"),
                    postgres=own_postgres,
                    valkey=own_valkey,
                    **settings,
                )
            )

        yield make


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """On the shared servers, with a database of its own: for faults that do not hurt a server."""
    return make_cluster()
