"""What a person may decide about a refund, as pure functions of both books (rule 24)."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from shared.core.refunds import KEY_KEPT, VOID, RefundStatus, may_send

S = RefundStatus


class Decision(StrEnum):
    RETRY = "retry"  # pay it (again): same key while that is safe, else the next generation
    ACCEPT = "accept"  # what Stripe shows is right
    MARK_FAILED = "mark-failed"  # it is not paid and shall not be
    MARK_SUCCEEDED = "mark-succeeded"  # it was paid in another way; the note says how


@dataclass(frozen=True, slots=True)
class Shown:
    """A refund at Stripe with our metadata."""

    id: str
    generation: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Both books. `first_sent`: age of the generation's first attempt that may have had an effect; `key_spent`: Stripe
    replays a refusal for the key; `run_live`: a run works on it or is about to."""

    status: RefundStatus
    generation: int
    first_sent: timedelta | None
    key_spent: bool
    run_live: bool
    shown: tuple[Shown, ...]

    @property
    def in_force(self) -> tuple[Shown, ...]:
        """Those that pay, or may."""
        return tuple(each for each in self.shown if each.status not in VOID)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write. `found`: the refund at Stripe that the row names from now on, None for none."""

    status: RefundStatus
    generation: int
    found: Shown | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str


def plan(decision: Decision, facts: Facts, *, note: str) -> Plan | Refusal:
    """What a decision does, or why it may not be."""
    if facts.status not in (S.NEEDS_REVIEW, S.FAILED):
        return Refusal(f"it is {facts.status.value}: only needs_review and failed are a person's to decide")
    if facts.run_live:
        return Refusal("a run is working on it: wait for its end")
    if decision is Decision.ACCEPT:
        return _accept(facts)
    if facts.in_force:
        one = facts.in_force[0]
        return Refusal(f"Stripe shows {one.id} as {one.status}: `accept` takes it over")
    match decision:
        case Decision.RETRY:
            return _retry(facts)
        case Decision.MARK_FAILED:
            return Plan(S.FAILED, facts.generation)
        case Decision.MARK_SUCCEEDED:
            if not note.strip():
                return Refusal("mark-succeeded needs a note that says how it was paid")
            return Plan(S.SUCCEEDED, facts.generation)


def _retry(facts: Facts) -> Plan | Refusal:
    if any(each.generation == facts.generation for each in facts.shown):
        # All of them are void, or `plan` had refused: Stripe has closed this generation.
        return Plan(S.PENDING, facts.generation + 1)
    if facts.first_sent is None:
        return Plan(S.PENDING, facts.generation)
    if facts.first_sent > KEY_KEPT:
        return Plan(S.PENDING, facts.generation + 1)
    if may_send(facts.first_sent) and not facts.key_spent:
        return Plan(S.PENDING, facts.generation)
    why = "Stripe would repeat its refusal for the same key" if facts.key_spent else "the same key is too old"
    left = KEY_KEPT - facts.first_sent
    return Refusal(
        f"{why}, and a new key is safe only 24 h after the first attempt: try again in {_minutes(left)}"
    )


def _accept(facts: Facts) -> Plan | Refusal:
    candidates = facts.in_force or tuple(each for each in facts.shown if each.generation == facts.generation)
    if not candidates:
        return Refusal("Stripe shows no refund with this id in its metadata")
    if len(candidates) > 1:
        ids = ", ".join(each.id for each in candidates)
        return Refusal(f"Stripe shows several ({ids}): settle that at Stripe first")
    found = candidates[0]
    status = {"succeeded": S.SUCCEEDED, "failed": S.FAILED, "canceled": S.FAILED}.get(
        found.status, S.SUBMITTED
    )
    # The generation stays, whichever the refund was made for: it is never lowered, so no key comes up twice.
    return Plan(status, facts.generation, found)


def _minutes(left: timedelta) -> str:
    minutes = max(1, -(-int(left.total_seconds()) // 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
