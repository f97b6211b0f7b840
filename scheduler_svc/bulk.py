"""Adding schedules by the thousand."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from scheduler_svc.definitions import with_start
from scheduler_svc.rows import encode_state, to_epoch
from shared.core.errors import BadInput
from shared.core.jobspec import JobSpec
from shared.core.schedule import ScheduleSpec
from shared.db.statements import statement

#: Rows of one statement: its round trip is worth little by then.
CHUNK = 1000


def insert_many(
    connection: Connection,
    specs: Iterable[ScheduleSpec],
    jobs: Mapping[str, JobSpec[Any]],
    now: datetime,
    actor: str,
) -> int:
    """Inserts schedules that are new, with their audit records; how many. Raises BadInput that names the schedule, or
    IntegrityError where an id exists."""
    rest, count = iter(specs), 0
    while rows := [_row(spec, jobs, now) for spec in islice(rest, CHUNK)]:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        connection.execute(statement("schedule_insert"), {**columns, "actor": actor})
        count += len(rows)
    return count


def _row(spec: ScheduleSpec, jobs: Mapping[str, JobSpec[Any]], now: datetime) -> dict[str, Any]:
    try:
        spec, trigger = with_start(spec.bound_to(jobs), now)
    except BadInput as error:
        raise BadInput(f"schedule {spec.id}: {error}") from None
    first = trigger.first(now)
    if first is None:
        raise BadInput(f"schedule {spec.id}: trigger: {spec.trigger} never fires")
    return {
        "ids": spec.id,
        "stores": spec.store,
        "states": encode_state(spec),
        "graces": spec.misfire_grace_s,
        "catch_ups": spec.catch_up,
        "overlaps": spec.overlap,
        "firsts": to_epoch(first),
        "specs": spec.model_dump_json(),
    }
