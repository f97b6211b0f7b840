"""Rows as a test puts them in and reads them back."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

EVERY_MINUTE = {"type": "interval", "every_s": 60}


class Books:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, sql: str, **params: Any) -> Sequence[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(text(sql), params)
            return result.all() if result.returns_rows else []

    def add(
        self,
        schedule_id: str,
        *,
        trigger: dict[str, object] = EVERY_MINUTE,
        due_in_s: float = 0.0,
        job: str = "ping",
        store: str = "maintenance",
        state: object = None,
        **policy: Any,
    ) -> None:
        """A schedule whose next fire is `due_in_s` from the database's now."""
        names = ["id", "store", *policy]
        self.run(
            f"INSERT INTO schedules ({', '.join(names)}, next_run_time, job_state) VALUES"
            f" ({', '.join(f':{name}' for name in names)}, extract(epoch FROM now())::float8 + :due_in, CAST(:state AS jsonb))",
            id=schedule_id,
            store=store,
            due_in=due_in_s,
            state=json.dumps(state or {"job": job, "args": {}, "trigger": trigger}),
            **policy,
        )

    def schedule(self, schedule_id: str) -> Any:
        rows = self.run(
            "SELECT *, extract(epoch FROM now())::float8 AS now FROM schedules WHERE id = :id", id=schedule_id
        )
        return rows[0] if rows else None

    def runs(self, schedule_id: str) -> Sequence[Any]:
        return self.run("SELECT * FROM job_runs WHERE schedule_id = :id ORDER BY due_at, id", id=schedule_id)

    def fires(self, schedule_id: str) -> int:
        """Σ(1 + coalesced) over the runs that have a due time."""
        return sum(1 + run.coalesced for run in self.runs(schedule_id) if run.due_at is not None)

    def add_run(self, **columns: Any) -> UUID:
        given = {"job": "ping", "queue": "maintenance", **columns}
        names = ", ".join(given)
        values = ", ".join(f":{name}" for name in given)
        run_id: UUID = self.run(f"INSERT INTO job_runs ({names}) VALUES ({values}) RETURNING id", **given)[
            0
        ].id
        return run_id

    def add_queued(self, **columns: Any) -> UUID:
        run_id = self.add_run(**columns)
        self.run(
            "UPDATE job_runs SET state = 'queued', queued_at = now() - interval '1 hour' WHERE id = :id",
            id=run_id,
        )
        return run_id

    def add_lost(self, **columns: Any) -> UUID:
        """A run whose lease ran out a moment ago."""
        run_id = self.add_run(attempt=1, **columns)
        self.run(
            "UPDATE job_runs SET state = 'running', started_at = now(), lease_until = now() - interval '1 ms' WHERE id = :id",
            id=run_id,
        )
        return run_id

    def get(self, run_id: UUID) -> Any:
        return self.run("SELECT *, run_at - now() AS run_in FROM job_runs WHERE id = :id", id=run_id)[0]
