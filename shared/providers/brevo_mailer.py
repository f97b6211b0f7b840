"""Brevo's transactional e-mail behind `shared.ports.Mailer`. Nothing here repeats a call: who may is decided elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from brevo import AsyncBrevo
from brevo.transactional_emails import GetEmailEventReportResponseEventsItem, SendTransacEmailResponse

from shared.ports import DuplicateKey, MailEvent, MailRefused, MailVersion, OutcomeUnknown, may_leave
from shared.providers.brevo_batch import encode_batch, post_batch
from shared.providers.brevo_errors import BREVO_ERRORS, translate
from shared.settings import BrevoSettings

CONNECT_TIMEOUT_S = 5.0
CONNECTIONS = 10
EVENTS_A_PAGE = 2500
#: A thousand mails with a hundred events each.
MAX_EVENT_PAGES = 40
#: How far back Brevo's event report reaches.
EVENT_DAYS = 90


class BrevoMailer:
    """See `shared.ports.Mailer`. One client and its connections for the process; closed by `close`."""

    def __init__(self, settings: BrevoSettings) -> None:
        if settings.brevo_api_key is None or settings.brevo_sender_email is None:
            raise ValueError("a mailer needs BREVO_API_KEY and BREVO_SENDER_EMAIL")
        self._sender = {"email": settings.brevo_sender_email, "name": settings.brevo_sender_name}
        self._key_header = settings.brevo_idempotency_header
        self._timeout_s = settings.brevo_timeout_s
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.brevo_timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )
        self._url = settings.brevo_base_url
        self._api_key = settings.brevo_api_key.get_secret_value()
        self._brevo = AsyncBrevo(
            api_key=self._api_key,
            base_url=self._url,
            httpx_client=self._http,
            max_retries=0,  # the SDK would repeat POSTs after 408, 409, 429 and 5xx
        )

    async def send_batch(
        self,
        versions: Sequence[MailVersion],
        *,
        tag: str,
        idempotency_key: UUID,
        before_call: Callable[[], None] = may_leave,
    ) -> Sequence[str]:
        headers: dict[str, str] = {self._key_header: str(idempotency_key)}
        if len(versions) > 1:
            body = await encode_batch(versions, sender=self._sender, headers=headers, tag=tag)
            before_call()  # it took a while to encode, and others came in between
            async with self._call():
                ids = await post_batch(self._http, self._url, self._api_key, body)
        else:
            before_call()
            async with self._call():
                response = await self._brevo.transactional_emails.send_transac_email(
                    # plain dicts build twice as fast as the SDK's models
                    sender=self._sender,
                    headers=headers,
                    tags=[tag],
                    **_single(versions[0]),
                )
            ids = _message_ids(response)
        if len(ids) != len(versions):
            raise OutcomeUnknown(f"Brevo accepted {len(versions)} mails and named {len(ids)}")
        return ids

    async def events(self, tag: str) -> Sequence[MailEvent]:
        found: list[MailEvent] = []
        for page in range(MAX_EVENT_PAGES):
            async with self._reading():
                report = await self._brevo.transactional_emails.get_email_event_report(
                    tags=json.dumps([tag]),
                    days=EVENT_DAYS,
                    sort="asc",
                    limit=EVENTS_A_PAGE,
                    offset=page * EVENTS_A_PAGE,
                )
                events = report.events or []
                # Should Brevo ever overlook the filter, another batch's events must not count for this one.
                found += [_event(each) for each in events if _has_tag(each.tag, tag)]
            if len(events) < EVENTS_A_PAGE:
                break
        return found

    async def check(self) -> None:
        async with self._reading():
            await self._brevo.account.get_account()

    async def close(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[None]:
        """One call, bounded as a whole; its errors as the port names them."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except BREVO_ERRORS as error:
            raise translate(error) from error
        except ValueError as error:  # pydantic's too: an answer that cannot be read says nothing
            raise OutcomeUnknown(f"Brevo's answer cannot be read: {type(error).__name__}") from error

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """A call that changes nothing: that it was refused says nothing about mail."""
        try:
            async with self._call():
                yield
        except (MailRefused, DuplicateKey) as error:
            raise OutcomeUnknown(f"Brevo refused to be asked: {error}") from error


def _single(version: MailVersion) -> dict[str, Any]:
    """Not a batch call: those are fewer an hour."""
    return {
        "to": [_recipient(version)],
        "subject": version.subject,
        "html_content": version.html,
        "text_content": version.text,
    }


def _recipient(version: MailVersion) -> Mapping[str, str]:
    # Brevo refuses an empty name.
    return {"email": version.email, "name": version.name} if version.name else {"email": version.email}


def _message_ids(response: SendTransacEmailResponse) -> Sequence[str]:
    return list(response.message_ids or ([response.message_id] if response.message_id else []))


def _event(item: GetEmailEventReportResponseEventsItem) -> MailEvent:
    return MailEvent(
        str(item.event), item.email, item.message_id, datetime.fromisoformat(item.date), item.reason
    )


def _has_tag(told: str | None, tag: str) -> bool:
    """The report names a mail's only tag as it is, or several as a list in JSON."""
    return told is None or tag in told
