"""All of it behind PgBouncer in transaction mode, set up as docs/running.md says."""

import re
from collections.abc import Callable
from pathlib import Path

from local_stack.postgres import EmbeddedPostgres
from shared.db.migrate import upgrade
from tests.chaos.rig.cluster import Cluster
from tests.pooler.pgbouncer import PgBouncer
from tests.wait import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "running.md"
#: Fewer than the processes that share them.
SERVERS = 4


def documented_ini() -> str:
    section = PAGE.read_text().partition("## Behind a pooler")[2].partition("\n## ")[0]
    found = re.search(r"```ini\n(.*?)```", section, re.DOTALL)
    assert found, f"{PAGE.name} has no settings for a pooler"
    return found[1]


def test_work_flows_through_a_pooler_of_transactions_and_is_done_once(
    private_postgres: Callable[..., EmbeddedPostgres], redis_url: str, server_directory: Path, tmp_path: Path
) -> None:
    postgres = private_postgres()
    upgrade(postgres.url)
    pooler = PgBouncer(
        server_directory / "pgbouncer", documented_ini(), server_port=postgres.port, servers=SERVERS
    )
    with pooler, Cluster(tmp_path, _through(pooler, "cuebx"), redis_url) as cluster:
        scheduler = {"DATABASE_URL": _through(pooler, "cuebx_scheduler")}
        members = [
            *(cluster.start("scheduler", env=scheduler) for _ in range(2)),
            *(cluster.start(kind) for kind in ("worker", "worker", "api")),
        ]
        for member in members:
            member.wait_ready()
        assert "time-outs: in force" in cluster.cuebx("doctor").stdout

        cluster.work.ping_every(3)
        cluster.work.refunds(40)
        cluster.work.invoices(40)
        with cluster.work.flowing() as load:
            wait_until(lambda: load.steps >= 5, 30, "the load's steps")
            cluster.members["worker-1"].kill()
            leader = cluster.leader()
            assert leader is not None
            leader.kill()
            postgres.stop("immediate")
            postgres.start()
            before = load.steps
            wait_until(lambda: load.steps >= before + 5, 60, "steps after the restart")
        cluster.wait_quiet()
        cluster.audit()
        assert len(cluster.brevo.addresses()) >= 40


def _through(pooler: PgBouncer, database: str) -> str:
    return pooler.url(database) + "?prepared_statement_cache_size=0"
