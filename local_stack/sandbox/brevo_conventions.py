"""What an address's local part says about the fate of mail to it: the beginning decides, anything may follow.

    bounce…  blocked…  spam…  unsub…  soft…  silent…        e.g. bounce17@example.com; everything else is delivered

All but soft… and silent… also block the address: later mail to it is only `blocked`. silent… is accepted, and nothing more is
heard of it. `reject…` is no fate: Brevo refuses the whole call that has it (400 invalid_parameter).
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Event:
    """`name` as the webhook has it, `report` as the event report has it."""

    name: str
    report: str
    reason: str | None = None
    blocks: str | None = None


REQUEST = Event("request", "requests")
DELIVERED = Event("delivered", "delivered")
BLOCKED = Event("blocked", "blocked", "blocked : due to blacklist user")

FATES: dict[str, tuple[Event, ...]] = {
    "bounce": (Event("hard_bounce", "hardBounces", "550 mailbox unavailable", "hardBounce"),),
    "soft": (Event("soft_bounce", "softBounces", "452 mailbox full"),),
    "blocked": (replace(BLOCKED, blocks="adminBlocked"),),
    "spam": (DELIVERED, Event("spam", "spam", blocks="contactFlaggedAsSpam")),
    "unsub": (DELIVERED, Event("unsubscribed", "unsubscribed", blocks="unsubscribedViaEmail")),
    # Accepted and requested, and then nothing is heard of it.
    "silent": (),
}


def fate(email: str) -> tuple[Event, ...]:
    """The events that follow the request of a mail to this address."""
    return next((events for start, events in FATES.items() if email.startswith(start)), (DELIVERED,))
