"""PostgreSQL is away for longer than a leader keeps its place."""

from collections.abc import Callable
from datetime import datetime

from local_stack.postgres import EmbeddedPostgres
from shared.db.migrate import upgrade
from tests.e2e.processes import Process
from tests.wait import wait_until

Start = Callable[..., Process]


def test_schedulers_that_fail_one_after_the_other_do_not_wake_each_other(
    processes: Start, private_postgres: Callable[..., EmbeddedPostgres]
) -> None:
    """Given two that find no PostgreSQL, each backs off, whoever else lets the lock go; and one leads when it is back."""
    server = private_postgres()
    upgrade(server.url)
    settings = {"DATABASE_URL": server.url, "LEADER_TTL_S": "0.5"}
    pair = [processes("scheduler_svc", **settings).wait_ready() for _ in range(2)]
    pair[0].wait_for("term_began")
    server.kill()
    for scheduler in pair:
        scheduler.wait_for("term_failed", times=5, timeout=30)
        first, *_, fifth = (
            datetime.fromisoformat(each["timestamp"]) for each in scheduler.events("term_failed")[:5]
        )
        assert (fifth - first).total_seconds() > 0.2 + 0.4 + 0.8
    before = _terms(pair)
    server.start()
    wait_until(lambda: _terms(pair) > before, 20, "a term")


def _terms(schedulers: list[Process]) -> int:
    return sum(len(each.events("term_began")) for each in schedulers)
