"""The requests of Brevo's v3 API that the sandbox answers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams

from local_stack.sandbox.answers import Answer, Call, RefusedError
from local_stack.sandbox.brevo_books import BrevoBooks, Occurrence
from local_stack.sandbox.brevo_config import BrevoAccount, BrevoSandboxConfig
from local_stack.sandbox.brevo_errors import error, invalid, usual_error
from local_stack.sandbox.brevo_request import idempotency_key, parse_send
from local_stack.sandbox.clock import Clock
from local_stack.sandbox.journal import Journal
from local_stack.sandbox.rate import Window

MAX_EVENTS, DEFAULT_EVENTS = 5000, 2500
DEFAULT_DAYS, MAX_DAYS = 30, 90


class BrevoApi:
    """Each public method answers one kind of request, or raises RefusedError. `announce` gets the events to tell by webhook."""

    def __init__(
        self,
        config: BrevoSandboxConfig,
        books: BrevoBooks,
        journal: Journal,
        account: BrevoAccount,
        clock: Clock,
        announce: Callable[[list[Occurrence]], None],
    ) -> None:
        self._config = config
        self._books = books
        self._journal = journal
        self._account = account
        self._clock = clock
        self._announce = announce
        self._batches = Window(config.batch_rate, 3600.0, clock.now)

    def send_mail(self, call: Call) -> Answer:
        request = parse_send(call.body)
        if self._account.under_validation:
            raise RefusedError(error(403, "account_under_validation", "Your account is under validation"))
        now = self._clock.now()
        key = idempotency_key(request.headers, self._config.honoured)
        if key is not None and self._books.key_in_use(key, now):
            raise RefusedError(error(400, "duplicate_parameter", "idempotencyKey has been used already"))
        if request.is_batch and not self._batches.take().allowed:
            raise RefusedError(usual_error(429))
        if any(
            name.lower() == "x-sib-sandbox" and value == "drop" for name, value in request.headers.items()
        ):
            self._books.dropped += request.recipients
            ids = [f"<dropped.{index}@smtp-relay.sandbox.test>" for index in range(len(request.messages))]
            return _sent(ids, request.is_batch)
        self._spend(request.recipients)
        ids, occurrences, record = self._books.accept(request, key, now)
        self._journal.append([record])
        self._announce(occurrences)
        return _sent(ids, request.is_batch)

    def _spend(self, mails: int) -> None:
        if self._account.credits is not None:
            if self._account.credits < mails:
                raise RefusedError(usual_error(402))
            self._account.credits -= mails

    def list_events(self, call: Call) -> Answer:
        """Newest first, unless `sort=asc`."""
        query = call.query
        limit, offset = _number(query, "limit", DEFAULT_EVENTS), _number(query, "offset", 0)
        if limit > MAX_EVENTS:
            raise invalid(f"limit can be at most {MAX_EVENTS}")
        since, until = self._period(query)
        event = query.get("event")
        found = [
            occurrence
            for occurrence in self._books.events(
                tags=_tags(query.get("tags")),
                email=query.get("email", ""),
                message_id=query.get("messageId", ""),
            )
            if since <= occurrence.at <= until and event in (None, occurrence.event.report)
        ]
        if query.get("sort", "desc") != "asc":
            found.reverse()
        events = [_reported(occurrence) for occurrence in found[offset : offset + limit]]
        # Brevo leaves the list out when it is empty.
        return Answer.json(200, {"events": events} if events else {})

    def _period(self, query: QueryParams) -> tuple[float, float]:
        """Seconds since 1970. What has not happened yet is not in it."""
        now = self._clock.now()
        if "startDate" in query or "endDate" in query:
            try:
                start, end = (
                    datetime.strptime(query[name], "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
                    for name in ("startDate", "endDate")
                )
            except (KeyError, ValueError) as problem:
                raise invalid("startDate and endDate are needed together, as YYYY-MM-DD") from problem
            if start > end or end - start > MAX_DAYS * 86400:
                raise invalid(f"the period can have at most {MAX_DAYS} days")
            return start, min(now, end + 86400)
        days = _number(query, "days", DEFAULT_DAYS)
        if not 1 <= days <= MAX_DAYS:
            raise invalid(f"days is between 1 and {MAX_DAYS}")
        return now - days * 86400, now

    def list_blocked(self, call: Call) -> Answer:
        now = self._clock.now()
        limit, offset = _number(call.query, "limit", 50), _number(call.query, "offset", 0)
        known = [(email, *entry) for email, entry in self._books.blocked.items() if entry[1] <= now]
        known.sort(key=lambda item: item[2], reverse=True)
        contacts = [
            {
                "email": email,
                "senderEmail": "",
                "reason": {"code": code, "message": code},
                "blockedAt": _iso(at),
            }
            for email, code, at in known[offset : offset + limit]
        ]
        return Answer.json(200, {"contacts": contacts, "count": len(known)})

    def unblock(self, call: Call) -> Answer:
        email = call.path_params["email"].lower()
        if self._books.blocked.pop(email, None) is None:
            raise RefusedError(usual_error(404))
        self._journal.append([{"kind": "unblocked", "email": email}])
        return Answer(204, b"")

    def read_account(self, _: Call) -> Answer:
        credits = 100_000 if self._account.credits is None else self._account.credits
        account = {
            "organization_id": "sandbox",
            "user_id": 1,
            "enterprise": False,
            "companyName": "Sandbox",
            "email": "owner@sandbox.test",
            "firstName": "Sand",
            "lastName": "Box",
            "address": {"city": "Test", "country": "FR", "street": "1 Sandbox Street", "zipCode": "00000"},
            "plan": [{"type": "payAsYouGo", "credits": credits, "creditsType": "sendLimit"}],
            "relay": {"enabled": True, "data": {"userName": "x", "relay": "smtp.sandbox.test", "port": 587}},
        }
        return Answer.json(200, account)


def _sent(ids: list[str], is_batch: bool) -> Answer:
    return Answer.json(201, {"messageIds": ids} if is_batch else {"messageId": ids[0]})


def _number(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise invalid(f"{name} has to be a number")
    return int(text)


def _tags(text: str | None) -> tuple[str, ...]:
    """A JSON list, as documented, or one tag as it is."""
    if not text:
        return ()
    if text.startswith("["):
        try:
            return tuple(str(tag) for tag in json.loads(text))
        except ValueError as problem:
            raise invalid("tags has to be a list") from problem
    return (text,)


def _reported(occurrence: Occurrence) -> dict[str, Any]:
    mail = occurrence.mail
    report = {
        "email": mail.email,
        "date": _iso(occurrence.at),
        "subject": mail.subject,
        "messageId": mail.messageId,
        "event": occurrence.event.report,
        "from": mail.sender,
    }
    if mail.tags:
        report["tag"] = mail.tags[0] if len(mail.tags) == 1 else json.dumps(mail.tags)
    if occurrence.event.reason:
        report["reason"] = occurrence.event.reason
    return report


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
