"""What becomes of a run, for every way a handler can end and every reason to stop it."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from shared.core.errors import PauseKind, PauseQueue, PermanentError
from shared.core.outcomes import Cancel, Done, Recorded
from shared.core.states import RunState
from tests.unit.worker_svc.runs import claimed
from worker_svc.attempts import Stop
from worker_svc.verdict import Ended, verdict


async def _ended(work: Awaitable[Any]) -> Ended:
    try:
        return Ended(await work)
    except BaseException as error:
        return Ended(error=error)


async def _returning(value: object) -> object:
    return value


async def _raising(error: BaseException) -> object:
    raise error


@pytest.mark.rule(6)
@pytest.mark.parametrize("value", [Done(), Cancel("no"), None])
async def test_a_lost_run_is_written_by_nobody_whatever_its_handler_says(value: object) -> None:
    assert verdict(claimed(), Stop.LOST, await _ended(_returning(value))) is None


async def test_what_the_handler_recorded_itself_is_not_written_again() -> None:
    assert verdict(claimed(), None, await _ended(_returning(Recorded()))) is None


@pytest.mark.parametrize(
    ("stopped", "state", "free"),
    [
        (Stop.CANCEL, RunState.CANCELLED, False),
        (Stop.HAND_BACK, RunState.PENDING, True),
        (Stop.TIMEOUT, RunState.PENDING, False),
        (None, RunState.PENDING, False),
    ],
)
@pytest.mark.parametrize("error", [asyncio.CancelledError(), OSError("torn down")])
async def test_a_handler_that_was_stopped_ends_by_the_reason_for_it(
    stopped: Stop | None, state: RunState, free: bool, error: BaseException
) -> None:
    decision = verdict(claimed(), stopped, await _ended(_raising(error)))
    assert decision is not None
    assert (decision.state, decision.free) == (state, free)


@pytest.mark.parametrize("stopped", [Stop.CANCEL, Stop.HAND_BACK, Stop.TIMEOUT, None])
async def test_work_that_was_finished_in_spite_of_a_stop_is_finished(stopped: Stop | None) -> None:
    decision = verdict(claimed(), stopped, await _ended(_returning(Done({"n": 1}))))
    assert decision is not None
    assert decision.state is RunState.SUCCEEDED


@pytest.mark.parametrize("stopped", [Stop.HAND_BACK, Stop.TIMEOUT, None])
async def test_a_permanent_error_is_permanent_even_for_a_worker_that_leaves(stopped: Stop | None) -> None:
    decision = verdict(claimed(), stopped, await _ended(_raising(PermanentError("no"))))
    assert decision is not None
    assert decision.state is RunState.DEAD


async def test_a_pause_costs_nothing() -> None:
    decision = verdict(claimed(), None, await _ended(_raising(PauseQueue(PauseKind.OUTAGE, "down"))))
    assert decision is not None
    assert (decision.state, decision.free) == (RunState.PENDING, True)


def test_a_handler_that_does_not_stop_is_judged_by_the_reason_for_stopping_it() -> None:
    decision = verdict(claimed(), Stop.HAND_BACK, None)
    assert decision is not None
    assert (decision.state, decision.free) == (RunState.PENDING, True)
