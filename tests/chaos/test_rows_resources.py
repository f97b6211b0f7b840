"""Row 30: PostgreSQL's disk is full; its connections are taken by somebody else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg2
import pytest
from sqlalchemy.exc import InternalError

from local_stack.postgres import EmbeddedPostgres
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.full_disk import SMALLEST_BYTES, full_disk
from tests.chaos.rig.member import Member
from tests.chaos.rig.recovery import every_second, recovers, works
from tests.wait import wait_until


def everybody(cluster: Cluster) -> list[Member]:
    members = [cluster.start(kind) for kind in ("scheduler", "scheduler", "worker", "api")]
    return [member.wait_ready() for member in members]


def enqueue(cluster: Cluster) -> int:
    """The status of an enqueue over HTTP."""
    return cluster.members["api-1"].post("/v1/runs", {"job": "ping", "args": {}}).status_code


def add_history(cluster: Cluster, runs: int, text: str) -> None:
    cluster.work.rows(
        "INSERT INTO job_runs (job, queue, state, finished_at, reason)"
        " SELECT 'ping', 'maintenance', 'cancelled', now(), :text FROM generate_series(1, :runs)",
        runs=runs,
        text=text,
    )


def ledger_bytes(cluster: Cluster) -> int:
    size: int = cluster.work.rows("SELECT pg_relation_size('job_runs') AS bytes")[0].bytes
    return size


def fill_up(cluster: Cluster) -> None:
    """Takes what room there is left in the ledger's last pages."""

    def write(runs: int) -> None:
        for _ in range(10_000):
            add_history(cluster, runs, "history")

    for runs in (50, 1):
        with pytest.raises(InternalError, match="could not extend file"):
            write(runs)


@pytest.mark.row(30)
def test_a_full_disk_refuses_what_it_cannot_keep_and_everything_goes_on_when_there_is_room(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster("postgres")
    assert cluster.postgres is not None
    members = everybody(cluster)
    add_history(cluster, 16_000, "history " * 150)
    size = ledger_bytes(cluster)
    assert size > SMALLEST_BYTES
    tick = every_second(cluster)
    with cluster.work.flowing() as load:
        works(cluster)
        with full_disk(cluster.postgres, size):

            def while_full(condition: Callable[[], bool]) -> bool:
                fill_up(cluster)  # also what a vacuum has made room for
                return condition()

            def wait_while_full(condition: Callable[[], bool], what: str) -> None:
                wait_until(partial(while_full, condition), 20, what)

            wait_while_full(lambda: enqueue(cluster) == 503, "an enqueue that is refused")
            failures = load.failures
            wait_while_full(lambda: load.failures > failures + 5, "the load is refused, too")
            wait_while_full(
                lambda: any(m.readiness()[0] == 503 for m in members[:2]), "a leader that says so"
            )
            assert [m.name for m in members if m.status is not None] == []
        recovers(cluster, tick)
    for member in members:
        member.wait_ready()
    assert enqueue(cluster) < 300
    cluster.wait_quiet()
    cluster.audit()


@contextmanager
def every_connection_taken(server: EmbeddedPostgres) -> Iterator[None]:
    """Somebody ends the others' connections and keeps all that the server has."""
    taken: list[psycopg2.extensions.connection] = []

    def take() -> None:
        for _ in range(1000):
            taken.append(psycopg2.connect(server.url, application_name="hog"))

    def has_all() -> bool:
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            take()
        with taken[0].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND application_name <> 'hog'"
            )
            others = cursor.rowcount
        taken[0].commit()
        return others == 0

    try:
        wait_until(has_all, 20, "every connection")
        yield
    finally:
        for connection in taken:
            connection.close()


@pytest.mark.row(30)
def test_when_somebody_else_has_every_connection_nobody_ends_and_work_waits(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(postgres={"max_connections": "40"})
    assert cluster.postgres is not None
    members = everybody(cluster)
    tick = every_second(cluster)
    with cluster.work.flowing() as load:
        works(cluster)
        failures = load.failures
        with every_connection_taken(cluster.postgres):
            wait_until(lambda: all(m.readiness()[0] == 503 for m in members), 20, "nobody ready")
            assert enqueue(cluster) == 503
            wait_until(lambda: load.failures > failures, 20, "the load is refused, too")
            assert [m.name for m in members if m.status is not None] == []
        recovers(cluster, tick)
    for member in members:
        member.wait_ready()
    cluster.wait_quiet()
    cluster.audit()
