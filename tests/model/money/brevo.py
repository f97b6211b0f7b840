"""Brevo as it may behave at its worst within what it promises."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.core.errors import RateLimited
from shared.ports import (
    DuplicateKey,
    Mailer,
    MailEvent,
    MailPaused,
    MailRefused,
    MailVersion,
    OutcomeUnknown,
    Rendered,
    Renderer,
    Unreachable,
    may_leave,
)
from tests.model.money import stage as words
from tests.model.money.stage import Stage

KEY_KEPT = timedelta(minutes=30)
#: Where keys are honoured, requests may be as late as the room between 25 and 30 minutes, and events as late as they like.
LATEST_WITH_KEYS, LAG_WITH_KEYS = timedelta(minutes=4), timedelta(minutes=90)
#: Where they are not, only events tell: a request and its first event come within the 45 s before a repeat.
LATEST_WITHOUT_KEYS, LAG_WITHOUT_KEYS = timedelta(seconds=20), timedelta(seconds=20)


@dataclass(frozen=True)
class Mail:
    email: str
    tag: str
    message_id: str
    at: datetime


class SimBrevo(Mailer):
    """`honours_keys` or does not know the header as we spell it. Addresses in `refuses` make it refuse whole calls."""

    def __init__(self, stage: Stage, honours_keys: bool = True) -> None:
        self._stage = stage
        self._numbers = itertools.count(1)
        self._keys: dict[UUID, datetime] = {}
        self.honours_keys = honours_keys
        stage.latest = LATEST_WITH_KEYS if honours_keys else LATEST_WITHOUT_KEYS
        self._lag = LAG_WITH_KEYS if honours_keys else LAG_WITHOUT_KEYS
        self.refuses: set[str] = set()
        self.bounces: set[str] = set()
        self.mails: list[Mail] = []
        self.on_mail: Callable[[Mail], None] = lambda mail: None
        self.webhooks: list[dict[str, Any]] = []
        self.events_are_lost = False

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

        def request(keep_only: bool = False) -> list[str]:
            return self._send(versions, tag, idempotency_key, keep_only)

        word = await self._call(f"send {len(versions)} mails as {tag[-4:]}", request)
        if word == words.SERVER_ERROR:  # the key is known from now on, and nothing is sent
            request(keep_only=True)
            raise OutcomeUnknown("500")
        if word == words.LOST_AFTER:
            self._unheard(request)
            raise OutcomeUnknown("cut")
        return request()

    async def events(self, tag: str) -> Sequence[MailEvent]:
        word = await self._call(f"events of {tag[-4:]}")
        if self.events_are_lost:
            return []
        mails = [mail for mail in self.mails if mail.tag == tag]
        old = [mail for mail in mails if self._stage.now - mail.at >= self._lag]
        return [self._event(mail) for mail in (old if word == words.LAG else mails)]

    async def check(self) -> None:
        await self._call("check")

    async def close(self) -> None: ...

    async def _call(self, label: str, request: Callable[[], object] | None = None) -> str:
        late = None if request is None else lambda: self._unheard(request)
        word = await self._stage.point(f"Brevo {label}", late)
        if word == words.BUSY:
            raise RateLimited("429")
        if word == words.FORBIDDEN:
            raise MailPaused(402, "no credits")
        if word == words.UNREACHABLE:
            raise Unreachable("no connection")
        if word == words.LATE and late is not None:
            self._stage.leave_under_way(f"Brevo {label}", late)
        if word in (words.LOST_BEFORE, words.LATE, words.CONFLICT):
            raise OutcomeUnknown("cut")
        if request is None and word in (words.SERVER_ERROR, words.LOST_AFTER):
            raise OutcomeUnknown("500")
        return word

    # ------------------------------------------------------------------------------------------------------ its books

    def _unheard(self, request: Callable[[], object]) -> None:
        try:
            request()
        except Exception as error:
            self._stage.say(f"Brevo: refused unheard: {error!r}")

    def _send(self, versions: Sequence[MailVersion], tag: str, key: UUID, keep_only: bool) -> list[str]:
        refused = [version.email for version in versions if version.email in self.refuses]
        if refused:
            raise MailRefused("invalid_parameter", f"{refused[0]} is not valid")
        if self.honours_keys and key in self._keys and self._stage.now - self._keys[key] < KEY_KEPT:
            raise DuplicateKey("duplicate_parameter")
        self._keys[key] = self._stage.now
        return [] if keep_only else [self._accept(version, tag) for version in versions]

    def _accept(self, version: MailVersion, tag: str) -> str:
        mail = Mail(version.email, tag, f"<{next(self._numbers)}@sim>", self._stage.now)
        self._stage.say(f"Brevo: {mail.message_id} to {mail.email} ({tag[-4:]})")
        self.mails.append(mail)
        event = self._event(mail)
        body = {"event": event.event, "email": mail.email, "message-id": mail.message_id, "tags": [tag]}
        self.webhooks.append(body)
        self.on_mail(mail)
        return mail.message_id

    def _event(self, mail: Mail) -> MailEvent:
        name = "hardBounces" if mail.email in self.bounces else "requests"
        return MailEvent(name, mail.email, mail.message_id, mail.at)


class PlainText(Renderer):
    def render(self, template: str, values: Any, *, locale: str) -> Rendered:
        return Rendered(template, template, template)
