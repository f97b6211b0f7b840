from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from cli.follow import Changes
from shared.core.states import RunState
from shared.db.insights import RunView

NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)
RUN = RunView(
    id=UUID(int=1), job="ping", queue="maintenance", args={}, state=RunState.PENDING, priority=3, key=None,
    schedule_id=None, schedule_generation=None, due_at=None, coalesced=0, overlap="allow", run_at=NOW, attempt=0,
    max_attempts=10, losses=0, worker=None, lease_until=None, cancel_requested=False, error=None, reason=None,
    result=None, enqueued_at=NOW, queued_at=None, started_at=None, finished_at=None,
)  # fmt: skip


def test_each_change_of_a_run_is_seen_once() -> None:
    changes = Changes()
    running = replace(RUN, state=RunState.RUNNING, attempt=1)
    again = replace(RUN, state=RunState.PENDING, attempt=1)
    assert changes.unseen([RUN]) == [RUN]
    assert changes.unseen([RUN]) == []
    assert changes.unseen([running]) == [running]
    assert changes.unseen([again]) == [again]
    assert changes.unseen([again]) == []
