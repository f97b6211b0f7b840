"""What the log says of attempts that were recorded together."""

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.core.outcomes import Decision
from shared.core.states import RunState
from tests.unit.worker_svc.runs import attempt_at
from worker_svc.attempts import Stop
from worker_svc.endings import LINE_MOST, TOGETHER, Ending, tell

DONE = Decision(RunState.SUCCEEDED, result={})
FAILED = Decision(RunState.PENDING, 1.0, error="ValueError: no")


def ending(decision: Decision | None = DONE, *, ours: bool = True, **run: Any) -> Ending:
    made = Ending(attempt_at(**run), decision, 0.0, lambda _: None)
    made.answer(ours)
    return made


def told(endings: Sequence[Ending]) -> list[Any]:
    with capture_logs() as lines:
        tell(endings)
    return lines


def test_a_few_runs_have_a_line_each() -> None:
    few = [ending() for _ in range(TOGETHER - 1)]
    lines = told(few)
    assert [line["event"] for line in lines] == ["run_ended"] * len(few)
    assert [line["run_id"] for line in lines] == [str(each.attempt.run.id) for each in few]
    assert {(line["job"], line["attempt"], line["state"]) for line in lines} == {("ping", 1, "succeeded")}


def test_many_successes_of_a_job_share_a_line_that_names_each_run() -> None:
    many = [ending() for _ in range(TOGETHER)]
    [line] = told(many)
    assert (line["event"], line["job"], line["state"], line["runs"]) == (
        "runs_ended",
        "ping",
        "succeeded",
        TOGETHER,
    )
    assert line["run_ids"] == [str(each.attempt.run.id) for each in many]
    assert len(line["seconds"]) == TOGETHER


def test_no_line_names_more_runs_than_collectors_of_logs_take() -> None:
    lines = told([ending() for _ in range(2 * LINE_MOST + 1)])
    assert [line["runs"] for line in lines] == [LINE_MOST, LINE_MOST, 1]


@pytest.mark.parametrize(
    ("state", "different"),
    [
        ("pending", lambda: ending(FAILED)),
        ("cancelled", lambda: ending(Decision(RunState.CANCELLED, error="asked"))),
        ("lost", lambda: ending(ours=False)),
        ("recorded", lambda: ending(None, ours=False)),
        ("succeeded", lambda: ending(attempt=2)),
        ("succeeded", lambda: ending(schedule_id="nightly")),
    ],
)
def test_whatever_is_no_plain_success_keeps_its_own_line(state: str, different: Any) -> None:
    odd = different()
    lines = told([*(ending() for _ in range(TOGETHER)), odd])
    [own] = [line for line in lines if line["event"] == "run_ended"]
    run = odd.attempt.run
    assert (own["run_id"], own["attempt"], own["schedule_id"], own["state"]) == (
        str(run.id),
        run.attempt,
        run.schedule_id,
        state,
    )
    assert own["error"] == (odd.decision.error if odd.decision else None)
    assert sum(line.get("runs", 0) for line in lines) == TOGETHER


def test_a_handler_that_stopped_because_its_run_was_lost_recorded_nothing() -> None:
    lost = ending(None, ours=False)
    lost.attempt.stop(Stop.LOST)
    [line] = told([lost])
    assert line["state"] == "lost"
