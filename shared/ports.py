"""What handlers and services see of the world. Adapters implement these; each process's `bootstrap.py` chooses them."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID


class Message(NamedTuple):
    """What goes through Redis: a run's id and the attempt that the message will become (rule 5)."""

    run_id: UUID
    attempt: int
    priority: int = 5


class Transport(Protocol):
    """Carries wake-ups. It may lose everything at any time: the ledger is the truth."""

    async def push(self, queue: str, messages: Sequence[Message]) -> None:
        """Adds messages (those already there stay as they are) and wakes a worker."""

    async def take(self, queue: str, most: int) -> list[Message]:
        """Takes up to `most` messages, first by priority, then by age. They are kept aside until acknowledged."""

    async def acknowledge(self, queue: str, messages: Iterable[Message]) -> None:
        """Forgets messages that the ledger has answered for."""

    async def give_back(self, queue: str, messages: Iterable[Message]) -> None:
        """Puts messages taken in vain (PostgreSQL is away) back to the front."""

    async def return_stale(self, queue: str, older_than_s: float) -> int:
        """Puts back what was taken longer ago than this and never acknowledged; how many."""

    async def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        """Those of `messages` that are neither queued nor taken."""

    async def depth(self, queue: str) -> int:
        """How many messages wait."""

    async def wait_and_take(self, queue: str, most: int, timeout_s: float) -> list[Message]:
        """Blocks until something was pushed, or `timeout_s` is over, and takes what is there then. What it takes while it is
        cancelled comes back as after a crash."""


class Clock(Protocol):
    """Two clocks with two purposes (rule 1): the database's says what is due, the monotonic one what may be trusted."""

    async def now(self) -> datetime:
        """PostgreSQL's now()."""

    def monotonic(self) -> float:
        """Seconds, never set back."""


# ------------------------------------------------------------------------------------------------------------ refunds


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """A refund as the provider tells it. `status` is the provider's word; amounts are in minor units."""

    id: str
    payment_intent_id: str | None
    amount: int
    currency: str
    status: str
    failure_reason: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    id: str
    amount: int
    currency: str


class RefundRefused(Exception):
    """The provider refused for good, and nothing was paid. `code` is the provider's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.code = code


class AlreadyRefunded(RefundRefused):
    """The charge has nothing left to refund: list before believing it (rule 26)."""


class KeyConflict(Exception):
    """The idempotency key was used with other parameters (rule 25): reconcile, then a person."""


class OutcomeUnknown(Exception):
    """Nobody knows whether the call took effect: time-out, cut connection, 409, 5xx. Only the same key may be sent again."""


class Unreachable(OutcomeUnknown):
    """No connection came about, so nothing was sent: the one unknown outcome that is none."""


class CredentialsRejected(Exception):
    """401 or 403. Whether all calls are concerned is for `RefundGateway.check` to find out (rule 23)."""


class RefundGateway(Protocol):
    """Stripe, as the refund handlers need it.

    Besides the errors named here every call may raise `shared.core.errors.RateLimited`, and reading calls raise
    `OutcomeUnknown` where the provider did not answer.
    """

    async def create(
        self,
        *,
        payment_intent_id: str,
        amount: int,
        reason: str | None,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> ProviderRefund:
        """One try, never repeated by the adapter. Raises RefundRefused, AlreadyRefunded, KeyConflict, OutcomeUnknown,
        CredentialsRejected."""

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        """None: the provider knows no such refund."""

    def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        """All refunds of a payment intent, newest first. Raises OutcomeUnknown where the provider knows no such payment
        intent: with another account's key, none shown would not mean that none was paid."""

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        """None: the provider knows no such payment intent."""

    async def check(self) -> None:
        """Returns when the key is accepted and the provider answers; raises CredentialsRejected or OutcomeUnknown."""

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------------------- reminders


@dataclass(frozen=True, slots=True)
class MailVersion:
    """One e-mail of a batch: one recipient, its own rendered content."""

    email: str
    name: str
    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True)
class MailEvent:
    """What the provider says of a mail: `event` as it names it (requests, delivered, hardBounces, blocked, …)."""

    event: str
    email: str
    message_id: str
    at: datetime
    reason: str | None = None


class MailRefused(Exception):
    """A definite 4xx about content: nothing was sent (rule 32)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class DuplicateKey(Exception):
    """The idempotency key is known: an earlier call with it was accepted, or is under way (rule 33)."""


class MailPaused(Exception):
    """401, 402 or 403: nobody's mail goes out. `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def may_leave() -> None:
    """A call may leave: nobody asks."""


class Mailer(Protocol):
    """Brevo, as the reminder handlers need it. Every call may raise `shared.core.errors.RateLimited`, `OutcomeUnknown`
    and MailPaused."""

    async def send_batch(
        self,
        versions: Sequence[MailVersion],
        *,
        tag: str,
        idempotency_key: UUID,
        before_call: Callable[[], None] = may_leave,
    ) -> Sequence[str]:
        """One try; the message ids in the order of `versions` (at most 1000). Raises MailRefused, DuplicateKey.

        `before_call` is asked when the call is ready to leave, with nothing to wait for in between: what it raises is
        raised, and nothing was sent.
        """

    async def events(self, tag: str) -> Sequence[MailEvent]:
        """All events of a tag that the provider has by now."""

    async def check(self) -> None:
        """Returns when the key is accepted and the provider answers."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    html: str
    text: str


class Renderer(Protocol):
    """E-mail templates."""

    def render(self, template: str, values: Mapping[str, object], *, locale: str) -> Rendered:
        """`template` without its ending, such as `payment_reminder`. A few milliseconds at most."""


class RateLimiter(Protocol):
    """A rate that all workers share."""

    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None:
        """Waits for a turn. Raises `shared.core.errors.RateLimited` after `timeout_s`."""

    async def slow_down(self, name: str, for_s: float) -> None:
        """The provider said 429: nobody gets a turn for this long."""
