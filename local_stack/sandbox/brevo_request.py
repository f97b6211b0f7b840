"""A send request of Brevo, checked as Brevo checks it and laid out as the messages it asks for."""

import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from local_stack.sandbox.brevo_errors import invalid, missing

MAX_VERSIONS, MAX_RECIPIENTS, MAX_PER_VERSION = 1000, 2000, 99
MAX_PARAMS_BYTES, MAX_ALL_PARAMS_BYTES = 100_000, 1_000_000
VERSION_FIELDS = frozenset(
    {"to", "cc", "bcc", "replyTo", "subject", "htmlContent", "textContent", "params", "templateId"}
)
FIELDS = VERSION_FIELDS | {
    "sender",
    "headers",
    "tags",
    "messageVersions",
    "attachment",
    "scheduledAt",
    "batchId",
}
ADDRESS = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
# An address that Brevo would not take: with one of these in it, the whole call is refused.
REFUSED_LOCAL_PART = "reject"

Fields = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One version: what each of its recipients gets."""

    to: tuple[str, ...]
    copies: tuple[str, ...]
    subject: str
    html: str
    text: str
    params: Fields


@dataclass(frozen=True)
class SendRequest:
    sender: str
    tags: tuple[str, ...]
    headers: dict[str, str]
    messages: tuple[Message, ...]
    is_batch: bool

    @property
    def recipients(self) -> int:
        return sum(len(message.to) + len(message.copies) for message in self.messages)


def parse_send(body: bytes) -> SendRequest:
    """Raises RefusedError (400 `missing_parameter` or `invalid_parameter`)."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise invalid("Invalid JSON in the request body") from error
    if not isinstance(content, dict):
        raise invalid("The request body has to be a JSON object")
    _check_names(content, FIELDS, "request")
    versions = content.get("messageVersions")
    sender = _sender(content)
    if content.get("templateId") is None and not (content.get("htmlContent") or content.get("textContent")):
        raise missing("htmlContent")
    if versions is None:
        messages: tuple[Message, ...] = (_message({}, content, ""),)
    else:
        messages = _messages(versions, content)
    request = SendRequest(sender, _tags(content), _headers(content), messages, versions is not None)
    if request.recipients > MAX_RECIPIENTS:
        raise invalid(f"a request can have at most {MAX_RECIPIENTS} recipients")
    return request


def idempotency_key(headers: dict[str, str], honoured: tuple[str, ...]) -> str | None:
    """The key under the first spelling that counts. Raises RefusedError if it is no UUID."""
    key = next((headers[name] for name in honoured if name in headers), None)
    if key is not None:
        try:
            UUID(key)
        except ValueError as error:
            raise invalid("idempotencyKey has to be a UUID") from error
    return key


def _check_names(content: Fields, known: frozenset[str], where: str) -> None:
    # Brevo overlooks unknown names. The sandbox does not: `html_content` would send an empty mail.
    if unknown := sorted(set(content) - known):
        raise invalid(f"unknown in {where}: {', '.join(unknown)}")


def _sender(content: Fields) -> str:
    sender = content.get("sender")
    if sender is None and content.get("templateId") is not None:
        return "template@sandbox.test"
    if not isinstance(sender, dict) or not (sender.get("email") or sender.get("id")):
        raise missing("sender")
    address = sender.get("email") or f"sender-{sender['id']}@sandbox.test"
    if not ADDRESS.fullmatch(str(address)):
        raise invalid("sender email is not valid")
    return str(address)


def _messages(versions: Any, shared: Fields) -> tuple[Message, ...]:
    """A version can change content, subject and template, but the request itself has to have content or a template."""
    if not isinstance(versions, list) or not versions:
        raise invalid("messageVersions has to be a list with at least one version")
    if len(versions) > MAX_VERSIONS:
        raise invalid(f"messageVersions can have at most {MAX_VERSIONS} versions")
    params_bytes = 0
    messages = []
    for index, version in enumerate(versions):
        where = f"messageVersions[{index}]"
        if not isinstance(version, dict):
            raise invalid(f"{where} has to be an object")
        _check_names(version, VERSION_FIELDS, where)
        if "to" not in version:
            raise missing(f"to in {where}")
        if "templateId" in version and shared.get("templateId") is None:
            raise invalid(f"templateId in {where} needs one of the request")
        if "params" in version:
            params_bytes += _params_size(version["params"], where)
        messages.append(_message(version, shared, f" in {where}"))
    if params_bytes > MAX_ALL_PARAMS_BYTES:
        raise invalid(f"params of all versions can have at most {MAX_ALL_PARAMS_BYTES} bytes")
    return tuple(messages)


def _message(version: Fields, shared: Fields, where: str) -> Message:
    merged = {**shared, **version}
    to = _addresses(merged, "to", where)
    if not to:
        raise missing(f"to{where}")
    copies = _addresses(merged, "cc", where) + _addresses(merged, "bcc", where)
    if len(to) + len(copies) > MAX_PER_VERSION:
        raise invalid(f"at most {MAX_PER_VERSION} recipients are allowed{where}")
    subject = merged.get("subject")
    if not subject and merged.get("templateId") is None:
        raise missing(f"subject{where}")
    return Message(
        to,
        copies,
        str(subject or ""),
        _text(merged, "htmlContent", where),
        _text(merged, "textContent", where),
        merged.get("params") or {},
    )


def _text(fields: Fields, name: str, where: str) -> str:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} has to be a string{where}")
    return value or ""


def _addresses(fields: Fields, name: str, where: str) -> tuple[str, ...]:
    people = fields.get(name) or []
    if not isinstance(people, list):
        raise invalid(f"{name} has to be a list{where}")
    return tuple(_address(person, name, where) for person in people)


def _address(person: Any, name: str, where: str) -> str:
    email = person.get("email") if isinstance(person, dict) else None
    if not isinstance(email, str) or not email:
        raise missing(f"email in {name}{where}")
    if not ADDRESS.fullmatch(email) or email.startswith(REFUSED_LOCAL_PART):
        raise invalid(f"email is not valid in {name}{where}")
    return email


def _params_size(params: Any, where: str) -> int:
    if not isinstance(params, dict):
        raise invalid(f"params has to be an object in {where}")
    size = len(json.dumps(params))
    if size > MAX_PARAMS_BYTES:
        raise invalid(f"params can have at most {MAX_PARAMS_BYTES} bytes in {where}")
    return size


def _tags(content: Fields) -> tuple[str, ...]:
    tags = content.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise invalid("tags has to be a list of strings")
    return tuple(tags)


def _headers(content: Fields) -> dict[str, str]:
    headers = content.get("headers") or {}
    if not isinstance(headers, dict):
        raise invalid("headers has to be an object")
    return {str(name): str(value) for name, value in headers.items()}
