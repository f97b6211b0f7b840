"""Pauses: rows that relay and claim check, so that what is paused waits visibly (rule 23)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text

from shared.core.errors import PauseKind
from shared.db import audit
from shared.db.ledger import AnyExecutor, Executor

Kind = Literal["queue", "job", "schedule"]


@dataclass(frozen=True, slots=True)
class Pause:
    """`cause` is None for a person's pause, which only a person ends; otherwise a probe at `probe_at` may end it."""

    kind: Kind
    name: str
    reason: str
    cause: PauseKind | None
    probe_at: datetime | None
    probes: int
    actor: str
    created_at: datetime


async def pause(db: Executor, kind: Kind, name: str, *, actor: str, reason: str = "") -> bool:
    """A person's pause; it also takes over one that had begun by itself. False where a person had paused it before."""
    sql = text(
        "INSERT INTO pauses (kind, name, reason, actor) VALUES (:kind, :name, :reason, :actor)"
        " ON CONFLICT (kind, name) DO UPDATE SET cause = NULL, probe_at = NULL, reason = excluded.reason, actor = excluded.actor"
        " WHERE pauses.cause IS NOT NULL RETURNING name"
    )
    changed = (
        await db.execute(sql, {"kind": kind, "name": name, "reason": reason, "actor": actor})
    ).first() is not None
    if changed:
        await audit.record(
            db, actor=actor, action="paused", kind=kind, subject=name, detail={"reason": reason}
        )
    return changed


async def pause_queue_for(
    db: Executor, queue: str, cause: PauseKind, *, reason: str, probe_after_s: float
) -> bool:
    """The queue pauses itself until a probe succeeds. False where it is paused already."""
    sql = text(
        "INSERT INTO pauses (kind, name, reason, cause, probe_at, actor)"
        " VALUES ('queue', :name, :reason, :cause, now() + make_interval(secs => :after), 'worker')"
        " ON CONFLICT (kind, name) DO NOTHING RETURNING name"
    )
    params = {"name": queue, "reason": reason, "cause": cause.value, "after": probe_after_s}
    began = (await db.execute(sql, params)).first() is not None
    if began:
        detail: dict[str, str] = {"reason": reason, "cause": cause.value}
        await audit.record(
            db, actor="worker", action="paused", kind="queue", subject=queue, detail={**detail}
        )
    return began


async def resume(db: Executor, kind: Kind, name: str, *, actor: str) -> bool:
    """Ends a pause, whoever began it. False where there was none."""
    sql = text("DELETE FROM pauses WHERE kind = :kind AND name = :name RETURNING name")
    ended = (await db.execute(sql, {"kind": kind, "name": name})).first() is not None
    if ended:
        await audit.record(db, actor=actor, action="resumed", kind=kind, subject=name)
    return ended


async def end_probed(db: Executor, probed: Pause) -> bool:
    """Ends a self-made pause whose probe succeeded. False where a person took it over meanwhile, or somebody ended it."""
    sql = text(
        "DELETE FROM pauses WHERE kind = :kind AND name = :name AND created_at = :created AND cause IS NOT NULL RETURNING name"
    )
    params = {"kind": probed.kind, "name": probed.name, "created": probed.created_at}
    ended = (await db.execute(sql, params)).first() is not None
    if ended:
        await audit.record(db, actor="probe", action="resumed", kind=probed.kind, subject=probed.name)
    return ended


async def list_pauses(db: Executor) -> list[Pause]:
    rows = await db.execute(
        text(
            "SELECT kind, name, reason, cause, probe_at, probes, actor, created_at FROM pauses ORDER BY kind, name"
        )
    )
    return [
        Pause(
            r.kind,
            r.name,
            r.reason,
            PauseKind(r.cause) if r.cause else None,
            r.probe_at,
            r.probes,
            r.actor,
            r.created_at,
        )
        for r in rows
    ]


async def take_due_probe(
    db: AnyExecutor, queues: Sequence[str], *, next_after_s: float, cap_s: float
) -> Pause | None:
    """One self-made pause of these queues whose probe is due; its next probe is put off at once, so that one worker probes it."""
    sql = text(
        "UPDATE pauses p SET probes = p.probes + 1,"
        "  probe_at = now() + make_interval(secs => least(:cap, :after * power(2, least(p.probes, 20))))"
        " FROM (SELECT kind, name FROM pauses WHERE cause IS NOT NULL AND probe_at <= now()"
        "         AND kind = 'queue' AND name = ANY (CAST(:queues AS text[]))"
        "       ORDER BY probe_at LIMIT 1 FOR UPDATE SKIP LOCKED) due"
        " WHERE p.kind = due.kind AND p.name = due.name"
        " RETURNING p.kind, p.name, p.reason, p.cause, p.probe_at, p.probes, p.actor, p.created_at"
    )
    due = (await db.execute(sql, {"queues": list(queues), "after": next_after_s, "cap": cap_s})).all()
    if not due:
        return None
    r = due[0]
    return Pause(r.kind, r.name, r.reason, PauseKind(r.cause), r.probe_at, r.probes, r.actor, r.created_at)
