"""Of many schedules that are due, the next batch is read while the last one is being written."""

import time
from contextlib import nullcontext

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from scheduler_svc import firing as firing_module
from scheduler_svc import reading as reading_module
from scheduler_svc.firing import CONTENDED_S, Firing, bounded
from scheduler_svc.leadership import NotLeading
from scheduler_svc.reading import DueSchedules, single_statements
from scheduler_svc.schedules import Schedules
from shared.core.schedule import ScheduleSpec, every
from shared.db.engine import sync_engine
from shared.jobs import JOBS
from tests.integration.scheduler.books import Books
from tests.wait import wait_until

BATCH = 10


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (firing_module, reading_module):
        monkeypatch.setattr(module, "BATCH", BATCH)


def _add(books: Books, count: int) -> None:
    """`s0` is due first."""
    for n in range(count):
        books.add(f"s{n}", due_in_s=-count + n, overlap="allow")


def _read_ahead(firing: Firing) -> None:
    """It is there now, and older than whatever happens next."""
    ahead = firing._due._ahead
    assert ahead is not None
    wait_until(ahead.done, what="the batch that is read ahead")


def _fired(books: Books) -> list[str]:
    return [row.schedule_id for row in books.run("SELECT schedule_id FROM job_runs ORDER BY schedule_id")]


def test_each_batch_is_another_and_every_schedule_fires_once(books: Books, firing: Firing) -> None:
    _add(books, 25)
    passes = [firing.fire_due() for _ in range(4)]
    assert [done.schedules for done in passes] == [10, 10, 5, 0]
    assert [done.wait_s for done in passes][:2] == [0.0, 0.0]
    assert _fired(books) == sorted(f"s{n}" for n in range(25))


def test_a_schedule_that_was_edited_or_removed_since_does_not_fire_as_it_was(
    books: Books, firing: Firing, schedules: Schedules
) -> None:
    _add(books, 13)
    firing.fire_due()
    _read_ahead(firing)
    schedules.remove("s10", actor="me")
    schedules.add(ScheduleSpec(id="s11", job="daily_cleanup", trigger=every("1h")), actor="me", replace=True)
    firing.fire_due()
    firing.fire_due()
    assert books.runs("s10") == []
    assert [run.job for run in books.runs("s11")] == ["ping"], "what was due before the edit"
    assert books.schedule("s11").job_state["job"] == "daily_cleanup"
    assert len(books.runs("s12")) == 1


def test_nobody_sleeps_on_a_look_that_was_read_ahead(books: Books, firing: Firing, engine: Engine) -> None:
    """Given a batch that will be due again, but for one that somebody edits, when the rest is fired from a look of before
    that, then the next one comes at once, and tells when to wake up."""
    for n in range(BATCH):
        books.add(f"soon{n}", due_in_s=-20 - n)
    books.add("late", due_in_s=-10)
    with engine.begin() as connection:
        connection.execute(text("SELECT FROM schedules WHERE id = 'soon3' FOR UPDATE"))
        assert firing.fire_due().schedules == BATCH - 1
        _read_ahead(firing)
        last = firing.fire_due()
        assert (last.schedules, last.wait_s) == (1, 0.0)
        assert firing.fire_due().wait_s == CONTENDED_S
    assert firing.fire_due().schedules == 1
    assert books.runs("soon3")


def test_a_pass_that_may_not_write_leaves_its_batch_to_the_next_one(engine: Engine, books: Books) -> None:
    """Given a pass that read ahead and was refused, when it may act again, then nothing has to wait for a later batch."""
    trusted = False

    def check_trust() -> None:
        if not trusted:
            raise NotLeading("not now")

    firing = Firing(engine, JOBS, bound_s=5, check_trust=check_trust)
    _add(books, 15)
    with pytest.raises(NotLeading):
        firing.fire_due()
    assert _fired(books) == []
    trusted = True
    firing.fire_due()
    assert _fired(books) == sorted(f"s{n}" for n in range(10))
    firing.fire_due()
    assert _fired(books) == sorted(f"s{n}" for n in range(15))


def test_a_look_at_some_is_never_one_that_was_read_ahead(books: Books, firing: Firing) -> None:
    _add(books, 15)
    firing.fire_due()
    assert firing.fire_due(["s14"]).schedules == 1
    assert len(books.runs("s14")) == 1


def test_what_cannot_be_restored_is_no_hindrance(books: Books, firing: Firing) -> None:
    _add(books, 14)
    books.run("UPDATE schedules SET job_state = '{}' WHERE id IN ('s3', 's12')")
    firing.fire_due()
    firing.fire_due()
    assert len(_fired(books)) == 12
    assert all(books.schedule(name).broken for name in ("s3", "s12"))


def test_a_look_is_one_statement_and_leaves_no_transaction_behind(database_url: str, books: Books) -> None:
    """Given an engine of single statements, then PostgreSQL is sent nothing but the look, on one connection."""
    reads = single_statements(sync_engine(database_url, application="looks", bound_s=5, pool_size=1))
    try:
        looking = DueSchedules(reads, JOBS)
        looking.read([])
        books.add("a", due_in_s=-1)
        assert [each.row.id for each in looking.read([]).schedules] == ["a"]
        [left] = books.run(
            "SELECT state, query FROM pg_stat_activity WHERE application_name = 'looks' AND datname = current_database()"
        )
        assert left.state == "idle"
        assert "head.next_due_s" in left.query
    finally:
        reads.dispose()


def test_after_an_outage_one_pass_fails_and_not_one_for_each_pool(database_url: str, books: Books) -> None:
    """Given a leader whose connections for looks and for writes all broke, then once PostgreSQL answers it fires: a pass that
    finds one more broken waits as long as the outage made it wait."""
    engine, reads = engines = [
        sync_engine(database_url, application="leader", bound_s=5, pool_size=size, pre_ping=False)
        for size in (3, 1)
    ]
    try:
        firing = Firing(engine, JOBS, bound_s=5, reads=single_statements(reads))
        books.add("a", due_in_s=-1)
        assert firing.fire_due().schedules == 1
        books.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'leader' AND datname = current_database()"
        )
        books.add("b", due_in_s=-1)
        with pytest.raises(DBAPIError):
            firing.fire_due()
        assert firing.fire_due().schedules == 1
    finally:
        for each in engines:
            each.dispose()


@pytest.mark.rule(15)
def test_the_statement_that_begins_a_transaction_limits_all_of_it(engine: Engine) -> None:
    """Given short statements, none of which takes long, then PostgreSQL (from 17 on) ends the transaction all the same."""
    sql = text("SELECT 7")
    with engine.connect() as connection:
        first = bounded(connection, sql, 0.3)
        assert connection.execute(first).scalar_one() == 7
        assert (first is not sql) == (connection.dialect.server_version_info >= (17,))
        deadline = time.monotonic() + 10
        with pytest.raises(DBAPIError) if first is not sql else nullcontext():
            while first is not sql and time.monotonic() < deadline:
                connection.execute(text("SELECT pg_sleep(0.01)"))
