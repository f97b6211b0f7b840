"""The two that are compared: the model's ledger, and PostgreSQL's, on one clock."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from shared.db.engine import Database, sync_engine
from tests.model import connections
from tests.model.cluster import Cluster
from tests.model.world import EPOCH

#: Columns of the ledger that are compared; ids are compared by age.
COLUMNS = (
    *("job", "queue", "priority", "key", "schedule_id", "due_at", "coalesced", "overlap", "run_at", "state"),
    *("attempt", "max_attempts", "losses", "worker", "lease_until", "cancel_requested", "error", "reason"),
    *("result", "queued_at", "started_at", "finished_at"),
)

#: now() and the server's start are the model's: an unqualified name finds these first.
CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.time (at timestamptz NOT NULL);
INSERT INTO clock.time VALUES ('2030-01-31T00:00:00Z');
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.time';
ALTER TABLE job_runs ALTER run_at SET DEFAULT clock.now(), ALTER enqueued_at SET DEFAULT clock.now();
"""


class Side:
    """One of the two. Runs are known by their age: the number of their insertion, those of one statement in the order of
    what is in them."""

    engine: Any
    database: Any

    def __init__(self) -> None:
        self.ids: list[UUID] = []

    async def call(self, verb: Any, *args: Any, **more: Any) -> Any:
        async with self.database.begin() as connection:
            answer = await verb(connection, *args, **more)
        new = [row for row in await self.runs() if row["id"] not in self.ids]
        self.ids += [row["id"] for row in sorted(new, key=lambda row: [str(row[c]) for c in COLUMNS])]
        return answer

    async def runs(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def rows(self) -> list[dict[str, Any]]:
        runs = {row.pop("id"): row for row in await self.runs()}
        return [runs[each] for each in self.ids]

    def age(self, run_id: UUID) -> int:
        return self.ids.index(run_id) + 1 if run_id in self.ids else run_id.int - 2**100

    def id(self, age: int) -> UUID:
        return self.ids[age - 1] if age <= len(self.ids) else UUID(int=2**100 + age)


class Real(Side):
    """PostgreSQL."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.engine = sync_engine(url, application="test", bound_s=10)
        with self.engine.begin() as connection:
            for each in CLOCK.strip().split(";\n"):
                connection.execute(text(each))
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f"ALTER DATABASE {name} SET search_path = clock, pg_catalog, public"))
        self.engine.dispose()
        self.database = Database(url, application="test", bound_s=10)

    async def tick(self, now: datetime) -> None:
        await self.database.rows("UPDATE clock.time SET at = :now RETURNING at", now=now)

    async def runs(self) -> list[dict[str, Any]]:
        rows = await self.database.rows(f"SELECT id, {', '.join(COLUMNS)} FROM job_runs")
        return [dict(row._mapping) for row in rows]

    async def schedules(self) -> list[tuple[Any, ...]]:
        return [tuple(r) for r in await self.database.rows(f"SELECT {SCHEDULE} FROM schedules ORDER BY id")]


SCHEDULE = "id, next_run_time, paused_from, broken IS NOT NULL"


class Model(Side):
    """The simulated one."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.engine = connections.Engine(self.cluster.postgres, "test", 10.0)
        self.database = connections.AsyncDatabase(self.engine)

    async def tick(self, now: datetime) -> None:
        self.cluster.now = (now - EPOCH).total_seconds()

    async def runs(self) -> list[dict[str, Any]]:
        runs = self.cluster.postgres.tables["job_runs"].values()
        return [{name: getattr(run, name) for name in ["id", *COLUMNS]} for run in runs]

    async def schedules(self) -> list[tuple[Any, ...]]:
        found = sorted(self.cluster.postgres.tables["schedules"].values(), key=lambda s: s.id)
        return [(s.id, s.next_run_time, s.paused_from, s.broken is not None) for s in found]
