"""A Brevo in memory: it keeps books, idempotency keys and events, and fails when told to."""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from shared.ports import DuplicateKey, Mailer, MailEvent, MailRefused, MailVersion, may_leave


@dataclass(frozen=True)
class Fault:
    """`after`: the mail is accepted, and only then the error raised."""

    error: Exception
    after: bool = False


@dataclass(frozen=True)
class Accepted:
    """One mail in the books."""

    version: MailVersion
    message_id: str
    tag: str
    call: int


class FakeMailer(Mailer):
    """Passes the same contract as the real one (tests/contracts). Addresses that begin with `reject` are refused."""

    def __init__(self) -> None:
        self.mails: list[Accepted] = []
        self.shown: list[MailEvent] = []
        self.blind = False  # shows no events, as Brevo for the first moments
        self.closed = False
        self._tags: dict[str, str] = {}
        self._keys: set[UUID] = set()
        self._faults: dict[str, deque[Fault]] = {}
        self._standing: dict[str, Exception] = {}
        self._numbers = itertools.count(1)
        self._calls = itertools.count(1)

    # ------------------------------------------------------------------------------------------------- for the tests

    def fail_next(self, call: str, error: Exception, *, after: bool = False) -> None:
        """The next call of this name raises; `after`: having done its work."""
        self._faults.setdefault(call, deque()).append(Fault(error, after))

    def fail_always(self, error: Exception | None) -> None:
        """Every call raises, until told otherwise with None."""
        self._standing.clear()
        if error is not None:
            self._standing = dict.fromkeys(("send_batch", "events", "check"), error)

    def tell(self, event: str, mail: Accepted, reason: str | None = None) -> None:
        """An event from now on."""
        self.shown.append(MailEvent(event, mail.version.email, mail.message_id, datetime.now(UTC), reason))

    # ------------------------------------------------------------------------------------------------------ the port

    async def send_batch(
        self,
        versions: Sequence[MailVersion],
        *,
        tag: str,
        idempotency_key: UUID,
        before_call: Callable[[], None] = may_leave,
    ) -> Sequence[str]:
        before_call()
        fault = self._begin("send_batch")
        if any(version.email.startswith("reject") for version in versions):
            raise MailRefused("invalid_parameter", "email is not valid in to")
        if idempotency_key in self._keys:
            raise DuplicateKey("duplicate_parameter")
        self._keys.add(idempotency_key)
        call = next(self._calls)
        accepted = [Accepted(each, f"<{next(self._numbers)}@fake.test>", tag, call) for each in versions]
        self.mails += accepted
        for mail in accepted:
            self._tags[mail.message_id] = tag
            self.tell("requests", mail)
        if fault is not None:
            raise fault.error
        return [mail.message_id for mail in accepted]

    async def events(self, tag: str) -> Sequence[MailEvent]:
        self._begin("events")
        return [event for event in self.shown if self._tags[event.message_id] == tag and not self.blind]

    async def check(self) -> None:
        self._begin("check")

    async def close(self) -> None:
        self.closed = True

    def _begin(self, call: str) -> Fault | None:
        if (error := self._standing.get(call)) is not None:
            raise error
        faults = self._faults.get(call)
        fault = faults.popleft() if faults else None
        if fault is not None and not fault.after:
            raise fault.error
        return fault
