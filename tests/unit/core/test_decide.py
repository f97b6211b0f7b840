"""Decisions: tables for what is named, properties for what must never happen."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.core.backoff import RetryPolicy
from shared.core.decide import (
    MAX_ERROR_CHARS,
    MAX_RETRY_AFTER_S,
    UNKNOWN_JOB_DELAY_S,
    clean_text,
    decide_error,
    decide_handed_back,
    decide_lost_lease,
    decide_outcome,
    decide_unknown_job,
    error_text,
)
from shared.core.errors import Fenced, LeaseExpired, PauseKind, PauseQueue, PermanentError, RateLimited
from shared.core.outcomes import Cancel, Decision, Done, Outcome, Recorded, Retry, Snooze
from shared.core.states import RunState, may_move

POLICY = RetryPolicy()
WHEN = datetime(2031, 1, 1, tzinfo=UTC)


def no_luck() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (Done(), Decision(RunState.SUCCEEDED, result={})),
        (Done({"sent": 3}), Decision(RunState.SUCCEEDED, result={"sent": 3})),
        (Retry("no"), Decision(RunState.PENDING, 5.0, error="no")),
        (Retry("no", timedelta(seconds=7)), Decision(RunState.PENDING, 7.0, error="no")),
        (Retry("no", timedelta(seconds=-7)), Decision(RunState.PENDING, 0.0, error="no")),
        (Retry("no", WHEN), Decision(RunState.PENDING, run_at=WHEN, error="no")),
        (Snooze(timedelta(minutes=1)), Decision(RunState.PENDING, 60.0, free=True)),
        (Snooze(WHEN, "closed"), Decision(RunState.PENDING, run_at=WHEN, free=True, error="closed")),
        (Cancel("paid"), Decision(RunState.CANCELLED, error="paid")),
    ],
)
def test_each_outcome_has_its_decision(outcome: Outcome, decision: Decision) -> None:
    assert decide_outcome(outcome, 1, 10, POLICY, no_luck) == decision


def _validation_error() -> ValidationError:
    class Model(BaseModel):
        amount: int

    try:
        Model.model_validate({})
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "state", "delay_s", "free"),
    [
        (PermanentError("never"), RunState.DEAD, 0.0, False),
        # A provider's garbled answer, say; arguments that cannot be read never reach the handler.
        (_validation_error(), RunState.PENDING, 5.0, False),
        (RateLimited("429", 3.5), RunState.PENDING, 3.5, True),
        (RateLimited("429", -1.0), RunState.PENDING, 0.0, True),
        (RateLimited("429", math.nan), RunState.PENDING, 0.0, True),
        (RateLimited("429", math.inf), RunState.PENDING, MAX_RETRY_AFTER_S, True),
        (PauseQueue(PauseKind.OUTAGE, "down"), RunState.PENDING, 0.0, True),
        (ValueError("no"), RunState.PENDING, 5.0, False),
        (TimeoutError(), RunState.PENDING, 5.0, False),
        (Fenced("not mine"), RunState.PENDING, 5.0, False),
        (LeaseExpired("too late"), RunState.PENDING, 5.0, False),
        (KeyboardInterrupt(), RunState.PENDING, 5.0, False),
    ],
)
def test_each_error_has_its_decision(
    error: BaseException, state: RunState, delay_s: float, free: bool
) -> None:
    decision = decide_error(error, 1, 10, POLICY, no_luck)
    assert (decision.state, decision.delay_s, decision.free) == (state, delay_s, free)
    assert decision.error


def test_a_recorded_outcome_has_nothing_left_to_decide() -> None:
    with pytest.raises(ValueError, match="nothing left"):
        decide_outcome(Recorded(), 1, 10, POLICY, no_luck)


def test_an_instant_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        decide_outcome(Snooze(datetime(2031, 1, 1)), 1, 10, POLICY, no_luck)  # noqa: DTZ001  # the mistake


@pytest.mark.rule(10)
def test_an_unknown_job_goes_back_later_and_for_nothing() -> None:
    decision = decide_unknown_job("job\x00of tomorrow")
    assert (decision.state, decision.delay_s, decision.free) == (RunState.PENDING, UNKNOWN_JOB_DELAY_S, True)
    assert UNKNOWN_JOB_DELAY_S >= 1
    assert "of tomorrow" in (decision.error or "")


@pytest.mark.rule(4)
def test_what_is_handed_back_costs_nothing_and_waits_for_nothing() -> None:
    assert decide_handed_back() == Decision(RunState.PENDING, free=True)


def test_what_cost_no_attempt_makes_no_later_try_wait_longer() -> None:
    error = RuntimeError()
    first = decide_error(error, 1, POLICY.max_attempts, POLICY, no_luck)
    after_six_free_ones = decide_error(error, 7, POLICY.max_attempts + 6, POLICY, no_luck)
    assert after_six_free_ones.delay_s == first.delay_s
    last_but_one = decide_error(error, POLICY.max_attempts - 1, POLICY.max_attempts, POLICY, no_luck)
    assert last_but_one.delay_s > first.delay_s


@pytest.mark.parametrize("max_attempts", [1, 2, 50])
def test_attempts_that_fit_no_policy_wait_all_the_same(max_attempts: int) -> None:
    """Of an older release's policy, or of somebody's own insert."""
    decision = decide_error(RuntimeError(), 1, max_attempts + 1, RetryPolicy(max_attempts=3), no_luck)
    assert decision.delay_s == POLICY.base_s


@pytest.mark.rule(13)
def test_the_first_lost_lease_is_retried_at_once_and_later_ones_with_jittered_backoff() -> None:
    assert decide_lost_lease(1, 1, 10, POLICY, no_luck).delay_s == 0.0
    assert decide_lost_lease(2, 2, 10, POLICY, no_luck).delay_s == 5.0
    assert decide_lost_lease(3, 3, 10, POLICY, no_luck).delay_s == 10.0
    assert decide_lost_lease(3, 3, 10, POLICY, lambda: 0.5).delay_s == 15.0
    assert decide_lost_lease(9, 10, 10, POLICY, no_luck).state is RunState.DEAD


texts = st.text(st.characters(), max_size=50)  # NUL and lone surrogates among them
counts = st.integers(min_value=1, max_value=2**31 - 1)
rands = st.floats(min_value=0, max_value=1, exclude_max=True)
whens = st.timedeltas() | st.datetimes(timezones=st.just(UTC))
outcomes = (
    st.builds(Done)
    | st.builds(Retry, texts, st.none() | whens)
    | st.builds(Snooze, whens, texts)
    | st.builds(Cancel, texts)
)
errors = (
    st.builds(ValueError, texts)
    | st.builds(PermanentError, texts)
    | st.builds(RateLimited, texts, st.floats())
    | st.builds(PauseQueue, st.sampled_from(PauseKind), texts)
    | st.builds(Fenced, texts)
    | st.builds(TimeoutError)
)


@st.composite
def decisions(draw: st.DrawFn) -> tuple[Decision, int, int]:
    attempt, most, rand = draw(counts), draw(counts), draw(rands)
    how = draw(st.integers(0, 3))
    if how == 0:
        return decide_outcome(draw(outcomes), attempt, most, POLICY, lambda: rand), attempt, most
    if how == 1:
        return decide_error(draw(errors), attempt, most, POLICY, lambda: rand), attempt, most
    if how == 2:
        return decide_lost_lease(draw(counts), attempt, most, POLICY, lambda: rand), attempt, most
    decision = draw(st.sampled_from([decide_handed_back(), decide_unknown_job(draw(texts))]))
    return decision, attempt, most


@given(decisions())
def test_every_decision_is_a_legal_way_on_for_a_running_run(case: tuple[Decision, int, int]) -> None:
    assert may_move(RunState.RUNNING, case[0].state)


@given(decisions())
def test_a_run_that_goes_back_has_an_attempt_left_or_gets_one(case: tuple[Decision, int, int]) -> None:
    decision, attempt, most = case
    if decision.state is RunState.PENDING:
        assert decision.free or attempt < most
    else:
        assert not decision.free


@given(errors, counts, counts, rands)
def test_an_ordinary_error_is_dead_exactly_when_the_attempts_are_used_up(
    error: BaseException, attempt: int, most: int, rand: float
) -> None:
    assume(not isinstance(error, (PermanentError, RateLimited, PauseQueue)))
    decision = decide_error(error, attempt, most, POLICY, lambda: rand)
    assert (decision.state is RunState.DEAD) == (attempt >= most)


@given(decisions())
def test_every_delay_is_a_number_that_is_not_negative(case: tuple[Decision, int, int]) -> None:
    assert math.isfinite(case[0].delay_s)
    assert case[0].delay_s >= 0


@given(decisions())
@pytest.mark.rule(9)
def test_every_error_can_be_stored(case: tuple[Decision, int, int]) -> None:
    error = case[0].error
    if error is not None:
        assert "\x00" not in error
        assert len(error) <= MAX_ERROR_CHARS
        error.encode("utf-8")


@given(st.text(st.characters()))
@pytest.mark.rule(9)
def test_clean_text_leaves_what_can_be_stored_alone(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    if "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text):
        assert cleaned == text


def test_a_long_text_is_cut_and_says_so() -> None:
    cut = clean_text("x" * (MAX_ERROR_CHARS + 1))
    assert (len(cut), cut[-1]) == (MAX_ERROR_CHARS, "…")
    assert clean_text("x" * MAX_ERROR_CHARS) == "x" * MAX_ERROR_CHARS


def test_an_error_without_text_is_its_type() -> None:
    assert error_text(TimeoutError()) == "TimeoutError"
    assert error_text(ValueError("no")) == "ValueError: no"
