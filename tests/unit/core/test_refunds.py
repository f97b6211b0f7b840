"""Refund decisions as tables."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core import refunds as core
from shared.core.refund_review import Decision, Facts, Plan, Refusal, Shown, plan
from shared.core.refunds import Failure, Next, Otherwise, RefundStatus, after_failure, judge, judge_reading

S = RefundStatus
REFUND = UUID("0190a6a0-0000-7000-8000-000000000001")
TOLD = ("pending", "requires_action", "succeeded", "failed", "canceled")


@pytest.mark.rule(24)
def test_a_key_is_made_of_the_refund_and_its_generation_alone() -> None:
    assert core.idempotency_key(REFUND, 1) == f"refund-{REFUND}-1"
    assert core.idempotency_key(REFUND, 2) != core.idempotency_key(REFUND, 1)
    assert core.idempotency_key(uuid4(), 1) != core.idempotency_key(REFUND, 1)
    assert len(core.idempotency_key(REFUND, 2**31)) <= 255


@pytest.mark.rule(24)
@given(generation=st.integers(1, 2**31))
def test_metadata_finds_the_refund_and_its_generation_again(generation: int) -> None:
    assert core.generation_of(core.metadata(REFUND, generation), REFUND) == generation
    assert core.generation_of(core.metadata(uuid4(), generation), REFUND) is None


@pytest.mark.parametrize(
    "metadata", [{}, {"refund_id": str(REFUND)}, {"refund_id": str(REFUND), "generation": "x"}]
)
def test_metadata_that_is_not_whole_is_not_ours(metadata: dict[str, str]) -> None:
    assert core.generation_of(metadata, REFUND) is None


@pytest.mark.rule(27)
@pytest.mark.parametrize(
    ("age", "may"),
    [
        (None, True),
        (timedelta(0), True),
        (timedelta(hours=22, minutes=59, seconds=59), True),
        (timedelta(hours=23), False),
        (timedelta(days=3), False),
    ],
)
def test_a_key_is_sent_for_23_hours(age: timedelta | None, may: bool) -> None:
    assert core.may_send(age) is may


# What Stripe's word makes of each status; None: nothing.
JUDGED = {
    ("pending", S.PENDING): S.SUBMITTED,
    ("pending", S.PROCESSING): S.SUBMITTED,
    ("pending", S.SUBMITTED): None,
    ("pending", S.SUCCEEDED): None,
    ("pending", S.FAILED): S.NEEDS_REVIEW,
    ("requires_action", S.PROCESSING): S.SUBMITTED,
    ("requires_action", S.SUBMITTED): None,
    ("requires_action", S.SUCCEEDED): None,
    ("requires_action", S.FAILED): S.NEEDS_REVIEW,
    ("succeeded", S.PROCESSING): S.SUCCEEDED,
    ("succeeded", S.SUBMITTED): S.SUCCEEDED,
    ("succeeded", S.SUCCEEDED): None,
    ("succeeded", S.FAILED): S.NEEDS_REVIEW,
    ("failed", S.PROCESSING): S.FAILED,
    ("failed", S.SUBMITTED): S.FAILED,
    ("failed", S.FAILED): None,
    ("canceled", S.PROCESSING): S.FAILED,
    ("canceled", S.SUBMITTED): S.FAILED,
    ("canceled", S.FAILED): None,
    ("new_word", S.PROCESSING): S.NEEDS_REVIEW,
    ("new_word", S.SUBMITTED): S.NEEDS_REVIEW,
    ("new_word", S.SUCCEEDED): S.NEEDS_REVIEW,
    ("new_word", S.FAILED): S.NEEDS_REVIEW,
}


@pytest.mark.rule(29)
@pytest.mark.parametrize(("told", "status"), JUDGED)
def test_stripes_word_moves_a_refund_as_the_table_says(told: str, status: RefundStatus) -> None:
    verdict = judge(status, ever_succeeded=False, told=told, failure_reason=None)

    assert (verdict and verdict.status) == JUDGED[told, status]


@pytest.mark.rule(29)
@pytest.mark.parametrize("told", ["failed", "canceled"])
@pytest.mark.parametrize("status", [S.PROCESSING, S.SUBMITTED, S.SUCCEEDED])
def test_what_had_succeeded_once_is_never_simply_failed(told: str, status: RefundStatus) -> None:
    verdict = judge(status, ever_succeeded=True, told=told, failure_reason="lost_or_stolen_card")

    assert verdict is not None
    assert (verdict.status, verdict.alarm) == (S.NEEDS_REVIEW, "refund_failed_after_success")
    assert verdict.failure_reason == "lost_or_stolen_card"


@given(told=st.sampled_from([*TOLD, "", "new_word"]), ever=st.booleans())
def test_nothing_that_stripe_says_takes_a_refund_out_of_review(told: str, ever: bool) -> None:
    assert judge(S.NEEDS_REVIEW, ever_succeeded=ever, told=told, failure_reason=None) is None


@given(
    told=st.sampled_from([*TOLD, "", "new_word"]),
    ever=st.booleans(),
    status=st.sampled_from([S.PENDING, S.PROCESSING]),
)
def test_every_word_makes_something_of_a_refund_that_is_being_paid(
    told: str, ever: bool, status: RefundStatus
) -> None:
    assert judge(status, ever_succeeded=ever, told=told, failure_reason=None) is not None


@pytest.mark.rule(29)
@pytest.mark.parametrize("status", [S.SUBMITTED, S.SUCCEEDED, S.FAILED, S.NEEDS_REVIEW])
@pytest.mark.parametrize("told", TOLD)
def test_another_refund_with_our_metadata_is_an_alarm_only_if_it_pays(
    status: RefundStatus, told: str
) -> None:
    verdict = judge_reading(
        status, named="re_1", ever_succeeded=False, found="re_2", told=told, failure_reason=None
    )

    expected = status is not S.NEEDS_REVIEW and told not in core.VOID
    assert (verdict is not None and verdict.alarm is not None) is expected


# (failure, unresolved, last) and what is next.
AFTER = [
    (Failure.REFUSED, False, False, Next(False, Otherwise.FAIL)),
    (Failure.REFUSED, True, False, Next(True, Otherwise.FAIL)),
    (Failure.REFUSED, False, True, Next(False, Otherwise.FAIL)),
    (Failure.ALREADY_REFUNDED, False, False, Next(True, Otherwise.FAIL)),
    (Failure.ALREADY_REFUNDED, True, True, Next(True, Otherwise.FAIL)),
    (Failure.KEY_CONFLICT, False, False, Next(True, Otherwise.REVIEW)),
    (Failure.FORBIDDEN, False, False, Next(False, Otherwise.REVIEW)),
    (Failure.FORBIDDEN, True, False, Next(True, Otherwise.REVIEW)),
    (Failure.UNKNOWN, False, False, Next(False, Otherwise.RETRY)),
    (Failure.UNKNOWN, True, False, Next(True, Otherwise.RETRY)),
    (Failure.UNKNOWN, False, True, Next(True, Otherwise.REVIEW)),
    (Failure.UNKNOWN, True, True, Next(True, Otherwise.REVIEW)),
]


@pytest.mark.parametrize(("failure", "unresolved", "last", "expected"), AFTER)
def test_what_follows_a_failed_call(failure: Failure, unresolved: bool, last: bool, expected: Next) -> None:
    assert after_failure(failure, unresolved=unresolved, last=last) == expected


@given(failure=st.sampled_from(Failure), last=st.booleans())
def test_while_an_earlier_attempt_may_have_paid_stripe_is_looked_at_first(
    failure: Failure, last: bool
) -> None:
    assert after_failure(failure, unresolved=True, last=last).look


# ------------------------------------------------------------------------------------------------------- what a person may


def facts(
    status: RefundStatus = S.NEEDS_REVIEW,
    first: timedelta | None = timedelta(hours=1),
    shown: tuple[Shown, ...] = (),
    *,
    spent: bool = False,
    live: bool = False,
    generation: int = 1,
) -> Facts:
    return Facts(status, generation, first, spent, live, shown)


def shown(status: str, generation: int = 1) -> Shown:
    return Shown(f"re_{generation}", generation, status)


@pytest.mark.rule(24)
@pytest.mark.parametrize(
    ("known", "generation"),
    [
        (facts(first=None), 1),  # nothing was ever sent
        (facts(first=timedelta(hours=22)), 1),  # the same key is safe
        (facts(first=timedelta(hours=23, minutes=30)), None),
        (facts(first=timedelta(hours=24)), None),
        (facts(first=timedelta(hours=24, seconds=1)), 2),
        (facts(first=timedelta(hours=1), spent=True), None),
        (facts(first=timedelta(hours=25), spent=True), 2),
        (facts(shown=(shown("failed"),)), 2),
        (facts(shown=(shown("canceled"),)), 2),
        (facts(shown=(shown("pending"),)), None),
        (facts(shown=(shown("succeeded"),)), None),
        (facts(S.FAILED, shown=(shown("failed"),)), 2),
        (facts(first=timedelta(hours=30), shown=(shown("succeeded", 1),), generation=2), None),
        (facts(first=timedelta(hours=1), shown=(shown("failed", 1),), generation=2), 2),
        (facts(first=timedelta(hours=1), live=True), None),
        (facts(S.SUCCEEDED, first=timedelta(hours=30)), None),
    ],
)
def test_a_new_generation_is_opened_only_when_the_last_one_surely_pays_nothing(
    known: Facts, generation: int | None
) -> None:
    made = plan(Decision.RETRY, known, note="")

    assert (made.generation if isinstance(made, Plan) else None) == generation


statuses = st.sampled_from([*TOLD, "new_word"])
all_facts = st.builds(
    Facts,
    status=st.sampled_from(RefundStatus),
    generation=st.just(2),
    first_sent=st.none() | st.timedeltas(timedelta(0), timedelta(days=3)),
    key_spent=st.booleans(),
    run_live=st.booleans(),
    shown=st.lists(st.builds(Shown, st.sampled_from(["a", "b"]), st.sampled_from([1, 2]), statuses)).map(
        tuple
    ),
)


@pytest.mark.rule(24)
@given(known=all_facts, note=st.sampled_from(["", "why"]), decision=st.sampled_from(Decision))
def test_no_decision_leads_to_a_second_payment(known: Facts, note: str, decision: Decision) -> None:
    made = plan(decision, known, note=note)

    if isinstance(made, Refusal):
        assert made.reason
        return
    assert known.status in (S.NEEDS_REVIEW, S.FAILED)
    assert not known.run_live
    if made.status is S.PENDING:
        assert not known.in_force
        closed = any(each.generation == known.generation for each in known.shown)
        aged = known.first_sent is not None and known.first_sent > timedelta(hours=24)
        assert made.generation == known.generation or closed or aged
        if made.generation == known.generation:
            assert core.may_send(known.first_sent)
    else:
        assert made.generation == known.generation
