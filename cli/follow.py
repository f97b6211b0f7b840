"""What `cuebx runs tail` does: asks twice a second what changed, prints each change once."""

import asyncio
import signal
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from cli.output import note, say, show, to_json
from shared.db import insights
from shared.db.engine import Database
from shared.db.errors import is_outage
from shared.db.insights import RunView

EVERY_S = 0.5
#: How far back each look goes. A transaction commits its rows later than it numbered and dated them.
WINDOW_S = 30.0
MOST = 2_000
REMEMBERED = 20_000


async def follow(
    database: Database, *, job: str | None, schedule: str | None, last: int, as_json: bool
) -> None:
    """Prints until Ctrl-C. An outage of the database is noted and waited out."""
    interrupted = _on_ctrl_c()
    try:
        await _follow(database, interrupted, job=job, schedule=schedule, last=last, as_json=as_json)
    except asyncio.CancelledError:
        if not interrupted.is_set():
            raise


def _on_ctrl_c() -> asyncio.Event:
    """Cancels this task, and is set: a cancellation alone can get lost in a wait that ends at the same moment
    (`asyncio.wait_for` of Python 3.11 swallows it)."""
    interrupted = asyncio.Event()
    task = asyncio.current_task()

    def interrupt() -> None:
        interrupted.set()
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    return interrupted


async def _follow(
    database: Database,
    interrupted: asyncio.Event,
    *,
    job: str | None,
    schedule: str | None,
    last: int,
    as_json: bool,
) -> None:
    changes = Changes()
    wanted = _filter(job, schedule)
    async with database.begin() as db:
        shown = await insights.list_runs(db, job=job, schedule=schedule, limit=last) if last else []
        changes.unseen(await insights.recent_runs(db, since_s=WINDOW_S, most=MOST))
    changes.unseen(shown)
    for view in reversed(shown):
        _print(view, as_json)
    away = False
    while not interrupted.is_set():
        await asyncio.sleep(EVERY_S)
        try:
            async with database.begin() as db:
                recent = await insights.recent_runs(db, since_s=WINDOW_S, most=MOST)
        except Exception as error:
            if not is_outage(error):
                raise
            if not away:
                note(f"PostgreSQL does not answer ({type(error).__name__}); waiting for it")
            away = True
            continue
        away = False
        for view in changes.unseen(recent):
            if wanted(view):
                _print(view, as_json)


class Changes:
    """Remembers what was seen of the latest runs."""

    def __init__(self) -> None:
        self._seen: OrderedDict[UUID, tuple[str, int]] = OrderedDict()

    def unseen(self, runs: list[RunView]) -> list[RunView]:
        """Those whose (state, attempt) is new."""
        new = []
        for view in runs:
            now = (view.state.value, view.attempt)
            if self._seen.get(view.id) != now:
                new.append(view)
            self._seen[view.id] = now
            self._seen.move_to_end(view.id)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return new


def _filter(job: str | None, schedule: str | None) -> Callable[[RunView], bool]:
    return lambda view: job in (None, view.job) and schedule in (None, view.schedule_id)


def _print(view: RunView, as_json: bool) -> None:
    if as_json:
        say(to_json(view))
        return
    # A run that is pending again has failed: its start says when it last changed better than its birth.
    at: datetime = view.finished_at or view.started_at or view.enqueued_at
    said = (view.error or view.reason or "").splitlines()
    words = [show(at), f"{view.state:<9}", f"{view.job} {view.id} {view.attempt}/{view.max_attempts}"]
    say("  ".join([*words, *said[:1]]))
