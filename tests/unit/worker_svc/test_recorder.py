"""The recorder where a real outage cannot be had: a commit whose answer is lost, a row that nothing makes storable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db import ledger
from shared.db.engine import Database
from shared.db.ledger import Finished
from shared.lifecycle import supervise
from tests.unit.worker_svc.runs import attempt_at
from worker_svc.attempts import Attempt
from worker_svc.endings import Ending
from worker_svc.recorder import Recorder

DONE = Decision(RunState.SUCCEEDED, result={})
REFUSAL = ValueError("what PostgreSQL says of bad data is no outage either")


class Ledger:
    """Stands in for `ledger.finish`: remembers batches, fails as told."""

    def __init__(self, *failures: BaseException | None) -> None:
        self.batches: list[list[UUID]] = []
        self.decisions: dict[UUID, Decision] = {}
        self.refused: set[UUID] = set()
        self._failures = list(failures)

    async def finish(self, _: object, finished: list[Finished]) -> set[UUID]:
        self.batches.append([f.run_id for f in finished])
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        if any(f.run_id in self.refused for f in finished):
            raise REFUSAL
        fresh = {f.run_id: f.decision for f in finished if f.run_id not in self.decisions}
        self.decisions |= fresh
        return set(fresh)


class NoDatabase:
    @asynccontextmanager
    async def single(self) -> AsyncIterator[None]:
        yield None


@asynccontextmanager
async def recording(fake: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorder]:
    monkeypatch.setattr(ledger, "finish", fake.finish)
    monkeypatch.setattr("worker_svc.recorder.RETRY_FIRST_S", 0.001)
    recorder, stop = Recorder(cast(Database, cast(Any, NoDatabase()))), asyncio.Event()
    running = asyncio.create_task(supervise([recorder], stop))
    yield recorder
    stop.set()
    await running


def recorded(recorder: Recorder, attempt: Attempt, decision: Decision) -> asyncio.Future[bool]:
    """The recorder's answer: whether the run was still this attempt's."""
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    recorder.record(Ending(attempt, decision, 0.0, lambda ending: answer.set_result(ending.ours is True)))
    return answer


async def test_outcomes_that_come_together_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, attempts = Ledger(), [attempt_at() for _ in range(30)]
    async with recording(fake, monkeypatch) as recorder:
        ours = await asyncio.gather(*(recorded(recorder, a, DONE) for a in attempts))
    assert ours == [True] * 30
    assert len(fake.batches) <= 2


@pytest.mark.rule(9)
async def test_a_row_that_is_refused_is_parked_and_its_neighbours_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake, attempts = Ledger(), [attempt_at() for _ in range(5)]
    bad = attempts[2]
    parked: list[Decision] = []

    async def finish(db: object, finished: list[Finished]) -> set[UUID]:
        if any(f.run_id == bad.run.id and f.decision.state is not RunState.DEAD for f in finished):
            raise REFUSAL
        parked.extend(f.decision for f in finished if f.run_id == bad.run.id)
        return await Ledger.finish(fake, db, finished)

    monkeypatch.setattr(fake, "finish", finish)
    async with recording(fake, monkeypatch) as recorder:
        ours = await asyncio.gather(*(recorded(recorder, a, DONE) for a in attempts))
    assert ours == [True] * 5
    assert [fake.decisions[a.run.id].state for a in attempts if a is not bad] == [RunState.SUCCEEDED] * 4
    assert "could not be stored" in (parked[0].error or "")


@pytest.mark.rule(9)
async def test_a_row_that_cannot_even_be_parked_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, bad, good = Ledger(), attempt_at(), attempt_at()
    fake.refused = {bad.run.id}
    async with recording(fake, monkeypatch) as recorder:
        ours = await asyncio.gather(recorded(recorder, bad, DONE), recorded(recorder, good, DONE))
        assert ours == [False, True]
        assert await recorded(recorder, attempt_at(), DONE)


async def test_an_outage_is_waited_out_however_old_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Ledger(OSError("away"), TimeoutError(), ConnectionRefusedError())
    expired = attempt_at(now=1000.0)
    assert expired.lease.remaining_s == 0
    async with recording(fake, monkeypatch) as recorder:
        assert await recorded(recorder, expired, DONE)
    assert len(fake.batches) == 4


async def test_an_outage_in_the_middle_of_row_by_row_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Ledger(REFUSAL, OSError("away"), None, OSError("away again"))
    attempts = [attempt_at() for _ in range(3)]
    async with recording(fake, monkeypatch) as recorder:
        assert all(await asyncio.gather(*(recorded(recorder, a, DONE) for a in attempts)))
    assert len(fake.decisions) == 3


async def test_a_run_that_was_lost_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, attempt = Ledger(), attempt_at()
    async with recording(fake, monkeypatch) as recorder:
        assert await recorded(recorder, attempt, DONE)
        again: Attempt = attempt
        assert not await recorded(recorder, again, DONE)


async def test_a_cancellation_that_nobody_asked_for_loses_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's wait can end in one; the supervisor runs the recorder again."""
    monkeypatch.setattr("shared.lifecycle.RESTART_FIRST_S", 0.001)
    fake = Ledger(asyncio.CancelledError())
    async with recording(fake, monkeypatch) as recorder, asyncio.timeout(5):
        assert await asyncio.gather(*(recorded(recorder, attempt_at(), DONE) for _ in range(3))) == [True] * 3


async def test_a_batch_that_is_broken_off_row_by_row_answers_each_outcome_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.lifecycle.RESTART_FIRST_S", 0.001)
    fake = Ledger(REFUSAL, None, asyncio.CancelledError())
    async with recording(fake, monkeypatch) as recorder, asyncio.timeout(5):
        # A second answer to any of them would raise.
        assert await asyncio.gather(*(recorded(recorder, attempt_at(), DONE) for _ in range(3))) == [True] * 3
    assert [len(batch) for batch in fake.batches] == [3, 1, 1, 2]


async def test_memory_that_runs_out_says_nothing_about_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, attempt, ended = Ledger(MemoryError()), attempt_at(), asyncio.Event()
    monkeypatch.setattr("shared.lifecycle.RESTART_FIRST_S", 0.001)
    monkeypatch.setattr("shared.lifecycle._end_without_memory", lambda _: ended.set())
    async with recording(fake, monkeypatch) as recorder, asyncio.timeout(5):
        assert await recorded(recorder, attempt, DONE)
    assert ended.is_set()
    assert fake.decisions[attempt.run.id] is DONE


async def test_after_the_end_nobody_waits_for_an_outcome_that_will_not_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with recording(Ledger(), monkeypatch) as recorder:
        pass
    async with asyncio.timeout(5):
        assert not await recorded(recorder, attempt_at(), DONE)


async def test_what_was_committed_together_is_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, attempts = Ledger(), [attempt_at() for _ in range(30)]
    with capture_logs() as lines:
        async with recording(fake, monkeypatch) as recorder:
            await asyncio.gather(*(recorded(recorder, a, DONE) for a in attempts))
    ended = [line for line in lines if line["event"] == "runs_ended"]
    assert [line["run_ids"] for line in ended] == [[str(i) for i in batch] for batch in fake.batches]
