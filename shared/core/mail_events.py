"""What the provider's events mean for a reminder and for its address, as a table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ReminderStatus(StrEnum):
    """Beside each status stands who moves it on."""

    PENDING = "pending"  # frozen with its batch, no call yet: the run, or the next one that adopts the batch
    SENDING = "sending"  # a call may have sent it: the same
    UNCONFIRMED = "unconfirmed"  # accepted once, or too old to ask again: confirm_reminders, or an event
    SENT = "sent"  # the provider took it; an event may still say that it was not delivered
    SKIPPED = "skipped"  # terminal: too late, superseded, or no longer owed
    SUPPRESSED = "suppressed"  # terminal: the address gets no mail
    FAILED = "failed"  # refused or bounced: a person may send it again
    NEEDS_REVIEW = "needs_review"  # nobody knows: a person, or a late event


S = ReminderStatus


@dataclass(frozen=True, slots=True)
class Meaning:
    """`suppress`: why the address gets no more mail, if so."""

    status: ReminderStatus
    suppress: str | None = None


#: By the event's name in its plainest form (see `_plain`): reports and webhooks spell them differently.
_MEANINGS: Final[Mapping[str, Meaning]] = {
    "request": Meaning(S.SENT),
    "sent": Meaning(S.SENT),
    "deferred": Meaning(S.SENT),
    "delivered": Meaning(S.SENT),
    "softbounce": Meaning(S.SENT),
    "opened": Meaning(S.SENT),
    "uniqueopened": Meaning(S.SENT),
    "click": Meaning(S.SENT),
    "loadedbyproxy": Meaning(S.SENT),
    "proxyopen": Meaning(S.SENT),
    "uniqueproxyopen": Meaning(S.SENT),
    "spam": Meaning(S.SENT, "spam"),
    "complaint": Meaning(S.SENT, "spam"),
    "unsubscribed": Meaning(S.SENT, "unsubscribed"),
    "hardbounce": Meaning(S.FAILED, "hard_bounce"),
    "invalid": Meaning(S.FAILED, "invalid_email"),
    "invalidemail": Meaning(S.FAILED, "invalid_email"),
    "blocked": Meaning(S.SUPPRESSED, "blocked"),
    "error": Meaning(S.FAILED),
}

#: Which statuses an event may change. Events come late, twice and in any order: what says more wins, and what a person
#: or our own policy decided stays.
MAY_BECOME: Final[Mapping[ReminderStatus, frozenset[ReminderStatus]]] = {
    S.SENT: frozenset({S.SENDING, S.UNCONFIRMED, S.NEEDS_REVIEW}),
    S.FAILED: frozenset({S.SENDING, S.UNCONFIRMED, S.NEEDS_REVIEW, S.SENT}),
    S.SUPPRESSED: frozenset({S.SENDING, S.UNCONFIRMED, S.NEEDS_REVIEW, S.SENT}),
}


def meaning(event: str) -> Meaning | None:
    """None: an event that says nothing about a reminder."""
    return _MEANINGS.get(_plain(event))


def status_after(events: Iterable[str]) -> ReminderStatus | None:
    """What all events of one mail together say, in whatever order they came. None: nothing yet."""
    statuses = {known.status for event in events if (known := meaning(event)) is not None}
    return next((status for status in (S.SUPPRESSED, S.FAILED, S.SENT) if status in statuses), None)


def _plain(event: str) -> str:
    plain = "".join(character for character in event.lower() if character.isalnum())
    return plain.removesuffix("s")
