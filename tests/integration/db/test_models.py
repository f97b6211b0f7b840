"""The models say what the migrated schema is."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Inspector, create_engine, inspect, select
from sqlalchemy.dialects import postgresql

from shared.db.engine import Database
from shared.db.models import Base, Customer, Invoice, JobRun, Refund
from shared.db.urls import for_psycopg2

#: Tables of single components, reached by their own statements alone.
UNMODELLED = {
    "alembic_version",
    "redis_marks",
    "schedule_ids",
    "schedule_removals",
    "schedule_resets",
    "scheduler_maintenance_jobs",
    "scheduler_payment_reminders_jobs",
    "scheduler_refunds_jobs",
    "schedules",
}
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


@pytest.fixture
def schema(database_url: str) -> Iterator[Inspector]:
    engine = create_engine(for_psycopg2(database_url).url)
    yield inspect(engine)
    engine.dispose()


def modelled(table: str) -> dict[str, tuple[str, bool, bool]]:
    """By column: type, nullable, whether the database has a default."""
    return {
        column.name: (
            column.type.compile(DIALECT),
            bool(column.nullable),
            column.server_default is not None,
        )
        for column in Base.metadata.tables[table].columns
    }


def migrated(schema: Inspector, table: str) -> dict[str, tuple[str, bool, bool]]:
    return {
        column["name"]: (
            column["type"].compile(DIALECT),
            column["nullable"],
            column["default"] is not None or "identity" in column,
        )
        for column in schema.get_columns(table)
    }


def foreign_keys(schema: Inspector, table: str) -> set[tuple[str, str]]:
    return {
        (key["constrained_columns"][0], f"{key['referred_table']}.{key['referred_columns'][0]}")
        for key in schema.get_foreign_keys(table)
    }


def test_every_table_is_modelled_or_left_out_by_name(schema: Inspector) -> None:
    assert set(schema.get_table_names()) == set(Base.metadata.tables) | UNMODELLED


@pytest.mark.parametrize("table", sorted(Base.metadata.tables))
def test_a_model_has_the_columns_of_its_table_in_their_order(schema: Inspector, table: str) -> None:
    assert list(modelled(table).items()) == list(migrated(schema, table).items())


@pytest.mark.parametrize("table", sorted(Base.metadata.tables))
def test_a_model_has_the_keys_of_its_table(schema: Inspector, table: str) -> None:
    model = Base.metadata.tables[table]

    assert [column.name for column in model.primary_key] == schema.get_pk_constraint(table)[
        "constrained_columns"
    ]
    assert {(key.parent.name, str(key.target_fullname)) for key in model.foreign_keys} == foreign_keys(
        schema, table
    )


async def test_rows_added_as_objects_come_back_with_what_the_database_filled_in(database_url: str) -> None:
    database = Database(database_url, application="test", bound_s=5)
    async with database.session() as session:
        customer = Customer(email="a@example.com")
        refund = Refund(payment_intent_id="pi_1", amount=100, currency="eur")
        run = JobRun(job="ping", queue="maintenance", args={"sleep_s": 0})
        session.add_all([customer, refund, run])
        await session.flush()
        session.add(Invoice(customer_id=customer.id, amount_due=5, currency="EUR", due_at=refund.created_at))

    assert isinstance(customer.id, UUID)
    assert (refund.status, refund.generation, refund.run_id) == ("pending", 1, None)
    assert (run.state, run.attempt, run.args) == ("pending", 0, {"sleep_s": 0})
    async with database.session() as session:
        kept: Any = (await session.scalars(select(Invoice))).one()
    assert (kept.status, kept.due_at) == ("open", refund.created_at)
    await database.close()
