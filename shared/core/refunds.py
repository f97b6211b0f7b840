"""Refunds, as data and pure decisions: their states, their keys, what Stripe's words and errors mean for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID


class RefundStatus(StrEnum):
    PENDING = "pending"  # approved: its run takes it; the sweep gives it one
    PROCESSING = "processing"  # an attempt is committed: its run, or the next one that the sweep gives it
    SUBMITTED = "submitted"  # Stripe has it: a webhook or reconciliation moves it on
    SUCCEEDED = "succeeded"  # paid; re-read for 30 days, since it can still fail
    FAILED = "failed"  # not paid, with the reason; a person may try again
    NEEDS_REVIEW = "needs_review"  # a person decides: `cuebx refunds resolve`


S = RefundStatus
WAITING: Final = frozenset({S.PENDING, S.PROCESSING})

#: From here on a key is not sent again (rule 27), and from there on Stripe may have forgotten it (rule 24).
RESEND_WITHIN: Final = timedelta(hours=23)
KEY_KEPT: Final = timedelta(hours=24)
#: So many dead runs, and a person looks instead of the next run.
MAX_DEAD_RUNS: Final = 3
#: Succeeded refunds are re-read for this long (rule 29).
WATCHED: Final = timedelta(days=30)

#: A refund at Stripe in one of these pays nothing any more; in any other it does, or may.
VOID: Final = frozenset({"failed", "canceled"})
_UNDER_WAY: Final = frozenset({"pending", "requires_action"})


def idempotency_key(refund_id: UUID, generation: int) -> str:
    """The same for every automatic attempt: only an audited decision opens the next generation (rule 24)."""
    return f"refund-{refund_id}-{generation}"


def metadata(refund_id: UUID, generation: int) -> dict[str, str]:
    """What finds the refund again at Stripe, whatever became of our key."""
    return {"refund_id": str(refund_id), "generation": str(generation)}


def names(found: Mapping[str, str], refund_id: UUID) -> bool:
    """Whether metadata at Stripe names this refund; by hand it may do so without a generation."""
    return found.get("refund_id") == str(refund_id)


def generation_of(found: Mapping[str, str], refund_id: UUID) -> int | None:
    """The generation that a refund at Stripe was made for; None where it does not say, or is not this refund's."""
    if not names(found, refund_id):
        return None
    generation = found.get("generation", "")
    return int(generation) if generation.isascii() and generation.isdigit() else None


def may_send(first_sent: timedelta | None) -> bool:
    """Whether the generation's key may go out. `first_sent`: how long ago on PostgreSQL's clock its first attempt began
    that may have had an effect; None: there was none."""
    return first_sent is None or first_sent < RESEND_WITHIN


# --------------------------------------------------------------------------------------- what a status of Stripe's means


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a refund becomes. `alarm`: the name of a log event at error level, where money needs somebody at once."""

    status: RefundStatus
    failure_reason: str | None = None
    review_reason: str | None = None
    alarm: str | None = None


def judge(
    status: RefundStatus, *, ever_succeeded: bool, told: str, failure_reason: str | None
) -> Verdict | None:
    """What Stripe's status `told` makes of a refund; None: nothing.

    A refund in review is a person's; nothing that Stripe says later takes it out of their hands.
    """
    if status is S.NEEDS_REVIEW:
        return None
    if status is S.FAILED and told not in VOID:
        return Verdict(
            S.NEEDS_REVIEW,
            review_reason=f"it was failed here, and Stripe shows it as {told!r}: money may have gone out",
            alarm="refund_paid_though_failed",
        )
    if told == "succeeded":
        return None if status is S.SUCCEEDED else Verdict(S.SUCCEEDED)
    if told in _UNDER_WAY:
        # News may come late: what has succeeded was under way once.
        return None if status in (S.SUBMITTED, S.SUCCEEDED) else Verdict(S.SUBMITTED)
    if told not in VOID:
        return Verdict(S.NEEDS_REVIEW, review_reason=f"Stripe's status {told!r} is not known here")
    return _void(status, ever_succeeded, failure_reason or told)


def judge_reading(
    status: RefundStatus,
    *,
    named: str | None,
    ever_succeeded: bool,
    found: str,
    told: str,
    failure_reason: str | None,
) -> Verdict | None:
    """What reading the refund `found` at Stripe makes of a row that no run works on and that names the refund `named`."""
    if found == named or status is S.FAILED:
        return judge(status, ever_succeeded=ever_succeeded, told=told, failure_reason=failure_reason)
    if told in VOID or status is S.NEEDS_REVIEW:
        return None  # one of an earlier generation, which a person has dealt with, or is about to
    return Verdict(
        S.NEEDS_REVIEW,
        review_reason=f"Stripe shows another refund with its metadata: {found} ({told})",
        alarm="refund_unexpected_at_stripe",
    )


def _void(status: RefundStatus, ever_succeeded: bool, reason: str) -> Verdict | None:
    if status is S.FAILED:
        return None
    if ever_succeeded:
        return Verdict(
            S.NEEDS_REVIEW,
            failure_reason=reason,
            review_reason=f"it had succeeded, and failed afterwards: {reason}",
            alarm="refund_failed_after_success",
        )
    return Verdict(S.FAILED, failure_reason=reason)


# --------------------------------------------------------------------------------------- what a failed call means


class Failure(StrEnum):
    """How a call to create a refund can fail. The value is kept as the attempt's outcome, save for `unknown`."""

    REFUSED = "refused"
    ALREADY_REFUNDED = "already_refunded"
    KEY_CONFLICT = "key_conflict"
    FORBIDDEN = "rejected"  # 401 or 403 for this refund alone
    UNKNOWN = "unknown"


#: Outcomes of attempts that surely had no effect at Stripe, not even on the key.
NO_EFFECT: Final = frozenset({"rate_limited", "rejected", "not_sent"})
#: Outcomes that Stripe replays for the key as long as it keeps it.
KEY_SPENT: Final = frozenset({Failure.REFUSED.value, Failure.ALREADY_REFUNDED.value})


class Otherwise(StrEnum):
    """What becomes of the refund when Stripe shows none with its metadata."""

    FAIL = "fail"
    REVIEW = "review"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Next:
    """`look`: list the payment's refunds first; one with our metadata is applied instead."""

    look: bool
    otherwise: Otherwise


_AFTER: Final[Mapping[Failure, Next]] = MappingProxyType(
    {
        Failure.REFUSED: Next(look=False, otherwise=Otherwise.FAIL),
        Failure.ALREADY_REFUNDED: Next(look=True, otherwise=Otherwise.FAIL),  # rule 26
        Failure.KEY_CONFLICT: Next(look=True, otherwise=Otherwise.REVIEW),  # rule 25
        Failure.FORBIDDEN: Next(look=False, otherwise=Otherwise.REVIEW),
        Failure.UNKNOWN: Next(look=False, otherwise=Otherwise.RETRY),
    }
)


def after_failure(failure: Failure, *, unresolved: bool, last: bool) -> Next:
    """What to do after a failed call. `unresolved`: an earlier attempt may have had an effect; `last`: there is no
    attempt after this one, and a refund whose money is unknown must not end as a dead run alone."""
    step = _AFTER[failure]
    if last and step.otherwise is Otherwise.RETRY:
        return Next(look=True, otherwise=Otherwise.REVIEW)
    return Next(look=step.look or unresolved, otherwise=step.otherwise)
