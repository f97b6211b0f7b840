"""The statements of the firing path are planned once for each connection, and nothing depends on it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

import shared.db.prepared
from scheduler_svc.firing import Firing
from shared.db.engine import sync_engine
from shared.db.errors import is_outage
from shared.db.prepared import SHORT
from shared.jobs import JOBS
from tests.integration.scheduler.books import Books

PREPARED = "SELECT name FROM pg_prepared_statements ORDER BY name"


@pytest.fixture
def one(database_url: str) -> Iterator[Engine]:
    """A single connection, as the scheduler has them."""
    engine = sync_engine(
        database_url,
        application="test",
        bound_s=10,
        pool_size=1,
        by_index=True,
        planned_once=("fire", "fire_due"),
    )
    yield engine
    engine.dispose()


def prepared(engine: Engine) -> list[str]:
    """Without the mark of the statement's text."""
    with engine.connect() as connection:
        return [name.rpartition("_")[0] for name in connection.execute(text(PREPARED)).scalars()]


def test_look_and_fire_are_prepared_where_they_are_first_executed(one: Engine, books: Books) -> None:
    books.add("a", due_in_s=-1)
    firing = Firing(one, JOBS, bound_s=5)
    assert firing.fire_due().runs == 1
    assert prepared(one) == ["cuebx_fire", "cuebx_fire_due"]
    books.add("b", due_in_s=-1)
    assert firing.fire_due().runs == 1
    with one.connect() as connection:
        calls = connection.execute(
            text("SELECT name, generic_plans, custom_plans FROM pg_prepared_statements")
        ).all()
    assert {(name.rpartition("_")[0], custom) for name, _, custom in calls} == {
        ("cuebx_fire", 0),
        ("cuebx_fire_due", 0),
    }
    assert all(generic >= 2 for _, generic, _ in calls)


def test_a_batch_of_many_is_planned_for_its_length(one: Engine, books: Books) -> None:
    for number in range(SHORT + 1):
        books.add(f"s{number}", due_in_s=-1)
    assert Firing(one, JOBS, bound_s=5).fire_due().runs == SHORT + 1
    assert prepared(one) == ["cuebx_fire_due"]


def test_a_look_for_some_alone_has_a_plan_of_its_own(one: Engine, books: Books) -> None:
    books.add("a", due_in_s=-1)
    Firing(one, JOBS, bound_s=5).fire_all(["a"])
    assert books.fires("a") == 1
    assert prepared(one) == ["cuebx_fire"]


def test_a_plan_is_made_anew_after_a_while(
    one: Engine, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    firing = Firing(one, JOBS, bound_s=5)
    firing.fire_due()
    with one.connect() as connection:
        [first] = connection.execute(text("SELECT prepare_time FROM pg_prepared_statements")).scalars()
    monkeypatch.setattr(shared.db.prepared, "KEPT_S", 0.0)
    firing.fire_due()
    with one.connect() as connection:
        [second] = connection.execute(text("SELECT prepare_time FROM pg_prepared_statements")).scalars()
    assert second > first


def test_a_session_that_has_one_of_that_name_already_blames_no_schedule(one: Engine, books: Books) -> None:
    """As behind a pooler of transactions."""
    books.add("a", due_in_s=-1)
    firing = Firing(one, JOBS, bound_s=5)
    assert firing.fire_due().runs == 1
    with one.connect() as connection:
        connection.info.clear()
    books.add("b", due_in_s=-1)
    with pytest.raises(DBAPIError) as refused:
        firing.fire_due()
    assert is_outage(refused.value)
    assert firing.fire_due().runs == 1
    assert not books.schedule("b").broken


@pytest.mark.parametrize(
    "forget",
    ["DEALLOCATE ALL", "ALTER TABLE schedules ALTER overlap TYPE varchar(20)"],
    ids=["gone", "migrated"],
)
def test_what_a_session_has_forgotten_blames_no_schedule_and_is_prepared_anew(
    one: Engine, books: Books, forget: str
) -> None:
    books.add("a", due_in_s=-1)
    firing = Firing(one, JOBS, bound_s=5)
    firing.fire_due()
    with one.begin() as connection:
        connection.execute(text(forget))
    books.add("b", due_in_s=-1)
    fired, refused = 0, []
    for _ in range(3):
        try:
            fired += firing.fire_due().runs
        except DBAPIError as error:
            refused.append(error)
    assert fired == 1
    assert refused
    assert all(map(is_outage, refused))  # the scheduler tries again
    assert not books.schedule("b").broken


@pytest.mark.parametrize("name", ["statement_cache_size", "prepared_statement_cache_size"])
def test_nothing_is_prepared_where_the_url_wants_no_cache(database_url: str, books: Books, name: str) -> None:
    engine = sync_engine(
        f"{database_url}?{name}=0",
        application="test",
        bound_s=10,
        pool_size=1,
        planned_once=("fire", "fire_due"),
    )
    try:
        books.add("a", due_in_s=-1)
        assert Firing(engine, JOBS, bound_s=5).fire_due().runs == 1
        assert prepared(engine) == []
    finally:
        engine.dispose()
