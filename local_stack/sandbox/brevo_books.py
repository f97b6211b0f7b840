"""What the Brevo sandbox knows: accepted mail, its events, idempotency keys and blocked addresses."""

import hashlib
import itertools
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_stack.sandbox.brevo_conventions import BLOCKED, REQUEST, Event, fate
from local_stack.sandbox.brevo_request import Message, SendRequest
from local_stack.sandbox.journal import Record

KEY_KEPT_S = 30 * 60.0


@dataclass(frozen=True)
class Mail:
    """One accepted mail to one address. `key`: the idempotency key of its call; `call`: the call's number, `version` its place
    in it; `content_hash` covers subject, HTML and text."""

    email: str
    messageId: str
    subject: str
    sender: str
    tags: tuple[str, ...]
    key: str | None
    call: int
    version: int
    content_hash: str
    params: dict[str, Any]
    accepted: float
    blocked: bool

    def as_json(self) -> dict[str, Any]:
        # Not asdict: its deep copies take longer than all else that a batch of 1000 needs.
        return dict(vars(self))


@dataclass(frozen=True)
class Occurrence:
    """An event of a mail; it can be read and is told from `at` on."""

    event: Event
    mail: Mail
    at: float


class BrevoBooks:
    """Changes return the records to keep. Mail is never removed: it is what audits read."""

    def __init__(self, events_delay_s: float, contents_kept: int) -> None:
        self._events_delay_s = events_delay_s
        self._contents_kept = contents_kept
        self._calls = itertools.count(1)
        self.mails: list[Mail] = []
        self.blocked: dict[str, tuple[str, float]] = {}
        self.dropped = 0
        self._keys: dict[str, float] = {}
        self._contents: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._events_by: dict[str, defaultdict[str, list[Occurrence]]] = {}
        self._clear_events()

    def key_in_use(self, key: str, now: float) -> bool:
        return key in self._keys and now - self._keys[key] < KEY_KEPT_S

    def accept(
        self, request: SendRequest, key: str | None, now: float
    ) -> tuple[list[str], list[Occurrence], Record]:
        """Enter a call: the message ids by version, the events to come, and the record to keep."""
        call = next(self._calls)
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M")
        first = len(self.mails) + 1
        ids = [
            f"<{stamp}.{first + index}.{call}@smtp-relay.sandbox.test>"
            for index in range(len(request.messages))
        ]
        mails = [
            self._mail(request, message, email, ids[index], key, call, index, now)
            for index, message in enumerate(request.messages)
            for email in (*message.to, *message.copies)
        ]
        if key is not None:
            self._keys[key] = now
        occurrences = [occurrence for mail in mails for occurrence in self._enter(mail)]
        record = {"kind": "call", "key": key, "now": now, "mails": [mail.as_json() for mail in mails]}
        return ids, occurrences, record

    def _mail(
        self,
        request: SendRequest,
        message: Message,
        email: str,
        message_id: str,
        key: str | None,
        call: int,
        version: int,
        now: float,
    ) -> Mail:
        content = "\0".join((message.subject, message.html, message.text))
        digest = hashlib.sha256(content.encode(errors="replace")).hexdigest()
        if self._contents_kept:
            self._contents[message_id] = {"html": message.html, "text": message.text}
            if len(self._contents) > self._contents_kept:
                self._contents.popitem(last=False)
        return Mail(
            email,
            message_id,
            message.subject,
            request.sender,
            request.tags,
            key,
            call,
            version,
            digest,
            message.params,
            now,
            email.lower() in self.blocked,
        )

    def _enter(self, mail: Mail) -> list[Occurrence]:
        self.mails.append(mail)
        at = mail.accepted + self._events_delay_s
        events = (REQUEST, BLOCKED) if mail.blocked else (REQUEST, *fate(mail.email))
        occurrences = [Occurrence(event, mail, at) for event in events]
        for occurrence in occurrences:
            for index, name in (("all", ""), ("email", mail.email), ("id", mail.messageId)):
                self._events_by[index][name].append(occurrence)
            for tag in mail.tags:
                self._events_by["tag"][tag].append(occurrence)
            if occurrence.event.blocks:
                self.blocked[mail.email.lower()] = (occurrence.event.blocks, at)
        return occurrences

    def events(
        self, *, tags: tuple[str, ...] = (), email: str = "", message_id: str = ""
    ) -> list[Occurrence]:
        """Events, oldest first, of mail that has one of the tags, this address, and this id, where given."""
        if message_id:
            found = self._events_by["id"].get(message_id, [])
        elif tags:
            found = [
                occurrence
                for tag in dict.fromkeys(tags)
                for occurrence in self._events_by["tag"].get(tag, [])
            ]
        elif email:
            found = self._events_by["email"].get(email, [])
        else:
            found = self._events_by["all"].get("", [])
        return [
            occurrence
            for occurrence in found
            if (not email or occurrence.mail.email == email)
            and (not tags or any(tag in occurrence.mail.tags for tag in tags))
        ]

    def content(self, message_id: str) -> dict[str, str] | None:
        return self._contents.get(message_id)

    def restore(self, record: Record) -> None:
        if record["kind"] == "unblocked":
            self.blocked.pop(record["email"], None)
            return
        next(self._calls)
        if record["key"] is not None:
            self._keys[record["key"]] = record["now"]
        for fields in record["mails"]:
            self._enter(Mail(**{**fields, "tags": tuple(fields["tags"])}))

    def doubled(self) -> list[dict[str, Any]]:
        """Mail that went to one address with one content more than once, in different versions or calls."""
        groups: dict[tuple[str, str], list[str]] = {}
        for mail in self.mails:
            groups.setdefault((mail.email.lower(), mail.content_hash), []).append(mail.messageId)
        return [
            {"email": email, "content_hash": digest, "messageIds": ids}
            for (email, digest), ids in groups.items()
            if len(ids) > 1
        ]

    def forget(self) -> None:
        self.mails.clear()
        self.blocked.clear()
        self._keys.clear()
        self._contents.clear()
        self._clear_events()
        self.dropped = 0

    def _clear_events(self) -> None:
        self._events_by = {index: defaultdict(list) for index in ("all", "email", "id", "tag")}
