"""What becomes of reminder batches: pure decisions on counts, ages and what the provider said."""

from collections.abc import Hashable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar

#: Brevo keeps an idempotency key for 30 minutes from the call it accepted. Ours count from the first call, and leave
#: room for a call that is slow to arrive.
REPEAT_WITHIN: Final = timedelta(minutes=25)
#: No call is repeated while the one before may still be under way, or its events on their way: after a hand-back or a lost
#: lease it goes on at the provider. Longer than any call of ours may take (BREVO_TIMEOUT_S).
REPEAT_AFTER: Final = timedelta(seconds=45)
#: The provider shows a mail's first event within minutes. What it does not show for this long, after the last call, is a
#: person's to decide.
PARK_AFTER: Final = timedelta(hours=2)
#: And what it shows us nothing of because its report cannot be read.
PARK_UNREAD_AFTER: Final = timedelta(days=1)
#: What was frozen and never called says what is true on that day. Later its reminders are selected, and written, anew.
FROZEN_FOR: Final = timedelta(days=1)
#: The provider takes 1000 in a call. Half of that encodes in half the time, which the event loop stands still, and leaves
#: half as many to a person when a call's outcome stays unknown.
MAX_MEMBERS: Final = 500
#: Rendered content of one batch, in characters: what a short transaction stores, and one request carries, with ease.
MAX_CONTENT_CHARS: Final = 4_000_000

T = TypeVar("T")


class Step(StrEnum):
    """What to do next with a batch whose outcome is not recorded."""

    CALL = "call"  # for the first time, or again with the same key
    WAIT = "wait"  # the call before may still be under way
    CONFIRM = "confirm"  # no call any more: its tag's events tell who got it (rule 33)


class Refusal(StrEnum):
    """What a definite refusal of a batch means."""

    SPLIT = "split"  # nothing was sent: the halves go out under keys of their own (rule 32)
    PARK = "park"  # nothing was sent, and this is the culprit
    CONFIRM = "confirm"  # an earlier call may have sent it: this answer says nothing about that one


def next_step(calls: int, age: timedelta | None, since_last_call: timedelta | None, accepted: bool) -> Step:
    """For a batch with `calls` calls that may have sent it, the first of them `age` ago by the database's clock.

    `accepted`: there is a sign (an event) that one of them did.
    """
    if calls == 0 or age is None or since_last_call is None:
        return Step.CALL
    # An age below zero: the database's clock went back, and tells no ages any more.
    if accepted or not timedelta(0) <= age < REPEAT_WITHIN:
        return Step.CONFIRM
    return Step.CALL if since_last_call >= REPEAT_AFTER else Step.WAIT


def on_refusal(earlier_calls: int, members: int) -> Refusal:
    """`earlier_calls` are those before the refused one that may have sent the batch."""
    if earlier_calls:
        return Refusal.CONFIRM
    return Refusal.PARK if members == 1 else Refusal.SPLIT


def is_overdue(since_last_call: timedelta, *, readable: bool = True) -> bool:
    """Whether what is still unconfirmed goes to a person. `readable`: the provider's report of it could be read."""
    return since_last_call >= (PARK_AFTER if readable else PARK_UNREAD_AFTER)


def halves(members: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Both non-empty, for two members or more."""
    middle = (len(members) + 1) // 2
    return members[:middle], members[middle:]


def pack(addresses: Sequence[Hashable], most: int = MAX_MEMBERS) -> list[list[int]]:
    """Indexes into `addresses`, as batches of at most `most` in which no address occurs twice (rule 31).

    Order is kept: the n-th occurrence of an address is in a later batch than the ones before it.
    """
    batches: list[list[int]] = []
    next_batch: dict[Hashable, int] = {}
    first_open = 0
    for index, address in enumerate(addresses):
        place = max(next_batch.get(address, 0), first_open)
        while place < len(batches) and len(batches[place]) >= most:
            place += 1
        if place == len(batches):
            batches.append([])
        batches[place].append(index)
        next_batch[address] = place + 1
        while first_open < len(batches) and len(batches[first_open]) >= most:
            first_open += 1
    return batches
