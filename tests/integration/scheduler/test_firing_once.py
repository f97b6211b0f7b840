"""Each fire has one run, whoever else fires it, edits its schedule or loses the lead meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from scheduler_svc.firing import Firing
from scheduler_svc.leadership import NotLeading
from scheduler_svc.schedules import Schedules
from shared.db.engine import sync_engine
from shared.jobs import JOBS
from tests.integration.scheduler.books import Books
from tests.wait import wait_until


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
