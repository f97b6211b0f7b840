"""Fires become rows, once, whatever happens meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from scheduler_svc import firing as firing_module
from scheduler_svc import triggers
from scheduler_svc.firing import Firing, Pass
from scheduler_svc.leadership import NotLeading
from scheduler_svc.schedules import Schedules
from scheduler_svc.sync import mend_broken
from shared.core.schedule import ScheduleSpec, every
from shared.db.engine import sync_engine
from shared.jobs import JOBS
from tests.integration.scheduler.books import Books
from tests.wait import wait_until


@pytest.fixture
def firing(engine: Engine) -> Firing:
    return Firing(engine, JOBS, bound_s=5)


def test_a_fire_is_a_run_and_its_schedule_moves_on_in_one_transaction(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-0.5, job="process_pending_refunds", store="refunds")
    before = books.schedule("a")
    done = firing.fire_due()
    [run] = books.runs("a")
    assert (done.schedules, done.runs) == (1, 1)
    assert (run.job, run.queue, run.state, run.priority) == (
        "process_pending_refunds",
        "refunds",
        "pending",
        2,
    )
    assert run.due_at.timestamp() == before.next_run_time
    assert books.schedule("a").next_run_time == before.next_run_time + 60


def test_a_one_shot_is_removed_with_its_fire(books: Books, firing: Firing) -> None:
    books.add("a", trigger={"type": "date", "at": "2020-01-01T00:00:00Z"}, due_in_s=-9)
    firing.fire_due()
    assert len(books.runs("a")) == 1
    assert books.schedule("a") is None
    assert books.run("SELECT * FROM schedule_ids") == []


def test_a_pass_says_when_to_look_again(books: Books, firing: Firing) -> None:
    assert firing.fire_due().wait_s == 1.0
    books.add("a", due_in_s=0.4)
    assert 0 < firing.fire_due().wait_s <= 0.4
    books.add_run(run_at=datetime.now(UTC) + timedelta(seconds=30))
    assert 25 < (firing.fire_due().relay_in_s or 0) <= 30


@pytest.mark.rule(1)
def test_no_host_clock_takes_part_in_firing(
    books: Books, firing: Firing, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "NoClock":
            raise AssertionError("the host's clock was asked")

    for module in (firing_module, triggers):
        monkeypatch.setattr(module, "datetime", NoClock)
    monkeypatch.setattr("time.time", lambda: 0.0)
    books.add("due", due_in_s=-1)
    books.add("not-due", due_in_s=5)
    firing.fire_due()
    assert len(books.runs("due")) == 1
    assert books.runs("not-due") == []


@pytest.mark.rule(18)
def test_many_leaders_at_once_fire_each_schedule_once(engine: Engine, books: Books) -> None:
    """Given 60 schedules that are due and four leaders, when all pass again and again, then each fire has one run."""
    for n in range(60):
        books.add(f"s{n}", trigger={"type": "interval", "every_s": 0.1}, due_in_s=-0.05, overlap="allow")
    barrier = threading.Barrier(4)

    def leader() -> None:
        own = Firing(engine, JOBS, bound_s=5)
        barrier.wait()
        for _ in range(15):
            own.fire_due()

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(leader) for _ in range(4)]:
            each.result()
    for n in range(60):
        runs = books.runs(f"s{n}")
        first, upcoming = (
            runs[0].due_at.timestamp() - 0.1 * runs[0].coalesced,
            books.schedule(f"s{n}").next_run_time,
        )
        assert len({run.due_at for run in runs}) == len(runs)
        assert books.fires(f"s{n}") == round((upcoming - first) / 0.1)


@pytest.mark.rule(18)
def test_the_unique_row_holds_even_where_the_schedule_was_set_back(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-1, overlap="allow")
    was = books.schedule("a").next_run_time
    firing.fire_due()
    books.run("UPDATE schedules SET next_run_time = :was WHERE id = 'a'", was=was)
    firing.fire_due()
    assert len(books.runs("a")) == 1


@pytest.mark.rule(18)
def test_a_schedule_made_again_under_the_same_id_fires_at_the_same_time_anew(
    books: Books, firing: Firing, schedules: Schedules
) -> None:
    books.add("a", due_in_s=-1, overlap="allow")
    was = books.schedule("a").next_run_time
    firing.fire_due()
    schedules.remove("a", actor="me")
    books.add("a", overlap="allow")
    books.run("UPDATE schedules SET next_run_time = :was WHERE id = 'a'", was=was)
    firing.fire_due()
    first, second = books.runs("a")
    assert first.due_at == second.due_at
    assert first.schedule_generation < second.schedule_generation


def test_an_edit_between_planning_and_writing_refuses_the_plan(
    engine: Engine, books: Books, schedules: Schedules
) -> None:
    books.add("a", due_in_s=-1)

    def edit_meanwhile() -> None:
        books.run("UPDATE schedules SET generation = nextval('schedule_generations') WHERE id = 'a'")

    done = Firing(engine, JOBS, bound_s=5, check_trust=edit_meanwhile).fire_due()
    assert (done.schedules, done.wait_s > 0) == (0, True)
    assert books.runs("a") == []
    assert books.schedule("a").next_run_time < books.schedule("a").now


@pytest.mark.rule(16)
@pytest.mark.parametrize("question", [1, 2])
def test_a_leader_that_lost_its_trust_writes_nothing(engine: Engine, books: Books, question: int) -> None:
    """Trust is asked right before the write, and again before its commit."""
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == question:
            raise NotLeading

    books.add("a", due_in_s=-1)
    with pytest.raises(NotLeading):
        Firing(engine, JOBS, bound_s=5, check_trust=check).fire_due()
    assert books.runs("a") == []
    assert books.schedule("a").next_run_time < books.schedule("a").now


@pytest.mark.rule(15)
@pytest.mark.parametrize(("session_bound_s", "transaction_bound_s"), [(3, 60), (60, 3)])
def test_a_leader_stopped_inside_its_transaction_loses_it_to_its_successor(
    database_url: str, books: Books, firing: Firing, session_bound_s: float, transaction_bound_s: float
) -> None:
    """Given a leader that stands still between its write and its commit, then its locks are gone within either bound."""
    books.add("a", due_in_s=-1)
    stopped = sync_engine(database_url, application="stopped", bound_s=session_bound_s)
    late_one = Firing(stopped, JOBS, bound_s=transaction_bound_s, check_trust=lambda: stand_still())
    gone_on = threading.Event()
    questions: list[int] = []

    def stand_still() -> None:
        questions.append(1)
        if len(questions) == 2:
            gone_on.wait(30)

    with ThreadPoolExecutor(1) as thread:
        late = thread.submit(late_one.fire_due)
        wait_until(lambda: len(questions) == 2)
        assert firing.fire_due().schedules == 0  # its rows are skipped, not waited for
        wait_until(lambda: firing.fire_due().schedules == 1, timeout=15)
        gone_on.set()
        with pytest.raises(DBAPIError):
            late.result()
    stopped.dispose()
    assert len(books.runs("a")) == 1


@pytest.mark.rule(19)
def test_by_default_missed_fires_coalesce_and_a_fire_is_skipped_while_a_run_is_live(
    books: Books, firing: Firing
) -> None:
    books.add("a", due_in_s=-185)
    firing.fire_due()
    books.run("UPDATE schedules SET next_run_time = next_run_time - 60 + 0.001 WHERE id = 'a'")
    firing.fire_due()
    ran, skipped = books.runs("a")
    assert (ran.state, ran.coalesced) == ("pending", 3)
    assert (skipped.state, skipped.reason, skipped.coalesced) == ("skipped", "overlap", 0)
    assert skipped.finished_at is not None


@pytest.mark.rule(19)
@pytest.mark.parametrize("live", ["manual", "queued", "running"])
def test_any_run_of_the_schedule_that_is_not_terminal_makes_it_busy(
    books: Books, firing: Firing, live: str
) -> None:
    if live == "manual":
        books.add_run(schedule_id="a")
    elif live == "queued":
        books.add_queued(schedule_id="a")
    else:
        books.add_lost(schedule_id="a")
    books.add("a", due_in_s=-1)
    firing.fire_due()
    assert [run.reason for run in books.runs("a") if run.due_at] == ["overlap"]


@pytest.mark.rule(19)
def test_a_schedules_own_overlap_goes_before_its_jobs(books: Books, firing: Firing) -> None:
    for overlap in ("allow", "queue"):
        books.add_run(schedule_id=overlap)
        books.add(overlap, due_in_s=-1, overlap=overlap)
    firing.fire_due()
    for overlap in ("allow", "queue"):
        [fired] = [run for run in books.runs(overlap) if run.due_at]
        assert (fired.state, fired.overlap) == ("pending", overlap)


@pytest.mark.rule(19)
@pytest.mark.rule(20)
def test_catching_up_queues_every_missed_fire_and_skips_what_is_beyond_the_bound(
    books: Books, firing: Firing
) -> None:
    books.add("a", trigger={"type": "interval", "every_s": 1}, due_in_s=-1099.5, catch_up=True)
    firing.fire_due()
    runs = books.runs("a")
    assert (runs[0].state, runs[0].reason, runs[0].coalesced) == ("skipped", "beyond_catch_up", 99)
    assert {(run.state, run.overlap, run.coalesced) for run in runs[1:]} == {("pending", "queue", 0)}
    assert len(runs) == 1001
    assert books.fires("a") == 1100


def test_a_fire_later_than_its_grace_is_a_skipped_row(books: Books, firing: Firing) -> None:
    books.add("a", due_in_s=-5, misfire_grace_s=2)
    firing.fire_due()
    [run] = books.runs("a")
    assert (run.state, run.reason) == ("skipped", "misfire")


@pytest.mark.rule(20)
def test_a_year_of_minutes_is_counted_over_many_passes_and_nothing_is_written_before(
    books: Books, firing: Firing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile other schedules fire, and what comes due while counting is counted too."""
    monkeypatch.setattr(firing_module, "COUNTING_BUDGET", 3000)
    books.add("year", trigger={"type": "cron", "expression": "* * * * *"})
    minutes = 10_000
    books.run(
        "UPDATE schedules SET next_run_time = extract(epoch FROM date_trunc('minute', now()))::float8 - 60 * :n",
        n=minutes,
    )
    first = firing.fire_due()
    assert (first.schedules, first.wait_s, books.runs("year")) == (0, 0.0, [])
    books.add("other", due_in_s=-1)
    assert firing.fire_due().schedules == 1
    assert books.runs("year") == []
    for _ in range(4):
        firing.fire_due()
    [run] = books.runs("year")
    assert minutes <= run.coalesced <= minutes + 1
    assert books.schedule("year").next_run_time > books.schedule("year").now


@pytest.mark.rule(21)
@pytest.mark.parametrize(
    "state",
    [
        {"nonsense": 1},
        "text",
        {"job": "nobody-knows", "args": {}, "trigger": {"type": "interval", "every_s": 60}},
        {"job": "ping", "args": {"sleep_s": "soon"}, "trigger": {"type": "interval", "every_s": 60}},
        {"job": "ping", "args": {}, "trigger": {"type": "cron", "expression": "61 * * * *"}},
        {"job": "ping", "args": {}, "trigger": {"type": "hourly"}},
    ],
)
def test_a_row_that_cannot_be_read_leaves_the_due_index_and_is_shown_not_deleted(
    books: Books, firing: Firing, schedules: Schedules, state: object
) -> None:
    books.add("bad", due_in_s=-1, state=state)
    books.add("good", due_in_s=-1)
    was = books.schedule("bad").next_run_time
    firing.fire_due()
    row = books.schedule("bad")
    assert (row.next_run_time, row.broken_due) == (None, was)
    assert row.broken
    assert schedules.get("bad").broken == row.broken
    assert len(books.runs("good")) == 1
    assert firing.fire_due().due == 0


@pytest.mark.rule(21)
def test_a_broken_row_is_tried_again_at_the_next_term_and_loses_no_fire(
    engine: Engine, books: Books, firing: Firing
) -> None:
    books.add(
        "a", due_in_s=-130, state={"job": "later", "args": {}, "trigger": {"type": "interval", "every_s": 60}}
    )
    firing.fire_due()
    assert mend_broken(engine, JOBS) == []
    knows = {**JOBS, "later": JOBS["ping"]}
    assert mend_broken(engine, knows) == ["a"]
    Firing(engine, knows, bound_s=5).fire_due()
    assert books.fires("a") == 3


@pytest.mark.parametrize("next_run_time", ["-Infinity", "1e300", "-1e300"])
def test_a_time_that_is_none_breaks_its_row_and_no_other(
    books: Books, firing: Firing, next_run_time: str
) -> None:
    books.add("bad")
    books.run("UPDATE schedules SET next_run_time = CAST(:t AS float8)", t=next_run_time)
    books.add("good", due_in_s=-1)
    firing.fire_due()
    assert len(books.runs("good")) == 1
    assert books.runs("bad") == []


@pytest.mark.rule(9)
def test_a_row_that_the_database_refuses_is_broken_and_its_neighbours_fire(
    books: Books, firing: Firing
) -> None:
    books.run("ALTER TABLE job_runs ADD CONSTRAINT no_bad CHECK (schedule_id <> 'bad')")
    for name in ("before", "bad", "after"):
        books.add(name, due_in_s=-1)
    firing.fire_due()
    assert (len(books.runs("before")), len(books.runs("after"))) == (1, 1)
    assert "no_bad" in books.schedule("bad").broken


def test_a_flood_in_one_store_does_not_hold_up_another(books: Books, firing: Firing) -> None:
    books.run(
        "INSERT INTO schedules (id, store, next_run_time, job_state) SELECT 'flood-' || n, 'maintenance', 1.7e9 + n,"
        ' \'{"job": "ping", "trigger": {"type": "interval", "every_s": 60}}\' FROM generate_series(1, 2000) n'
    )
    books.add("refund", due_in_s=-0.1, job="process_pending_refunds", store="refunds")
    done: Pass = firing.fire_due()
    assert (done.schedules, done.wait_s) == (firing_module.BATCH, 0.0)
    assert len(books.runs("refund")) == 1


def test_schedules_added_by_an_operator_fire(books: Books, firing: Firing, schedules: Schedules) -> None:
    schedules.add(ScheduleSpec(id="a", job="ping", trigger=every("100ms")), actor="me")
    wait_until(lambda: firing.fire_due() and len(books.runs("a")) == 1)
