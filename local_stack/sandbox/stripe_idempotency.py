"""Idempotency keys as Stripe's v1 API has them.

The first result of a key is replayed, errors of the work included; other parameters under the same key are an error; a
second request while the first runs is a conflict. What failed validation is not kept. A key is forgotten after 24 hours.
"""

from collections.abc import Callable
from dataclasses import dataclass

from local_stack.sandbox.answers import Answer, RefusedError
from local_stack.sandbox.journal import Record
from local_stack.sandbox.stripe_errors import error, invalid, usual_error

MAX_KEY = 255
KEPT_S = 24 * 3600.0


@dataclass
class _Entry:
    fingerprint: str | None
    created: float
    answer: Answer | None = None


class IdempotencyKeys:
    """`keep` is given the record of each result. Times are the sandbox clock's."""

    def __init__(self, now: Callable[[], float], keep: Callable[[Record], None]) -> None:
        self._now = now
        self._keep = keep
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, fingerprint: str) -> Answer | None:
        """None: the key is new and now in use, until `finish` or `abandon`. Else the answer to replay.

        Raises RefusedError: key too long, other parameters (`idempotency_error`), in use (409).
        """
        if len(key) > MAX_KEY:
            raise invalid(f"Keys for idempotent requests can be at most {MAX_KEY} characters long.")
        entry = self._entries.get(key)
        if entry is None or (entry.answer is not None and self._now() - entry.created >= KEPT_S):
            self._entries[key] = _Entry(fingerprint, self._now())
            return None
        if entry.fingerprint not in (fingerprint, None):
            text = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request."
            )
            raise RefusedError(error(400, "idempotency_error", text))
        if entry.answer is None:
            raise RefusedError(usual_error(409))
        return entry.answer.with_headers({"Idempotent-Replayed": "true"})

    def finish(self, key: str, answer: Answer) -> None:
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.answer = answer
        self._keep(
            {
                "kind": "key",
                "key": key,
                "fingerprint": entry.fingerprint,
                "created": entry.created,
                "status": answer.status,
                "body": answer.body.decode(),
            }
        )

    def abandon(self, key: str) -> None:
        self._entries.pop(key, None)

    def restore(self, record: Record) -> None:
        answer = Answer(record["status"], record["body"].encode())
        self._entries[record["key"]] = _Entry(record["fingerprint"], record["created"], answer)

    def restore_made(self, key: str | None, created: float, answer: Answer) -> None:
        """A key of which only the result is known, not the parameters."""
        if key is not None:
            self._entries[key] = _Entry(None, created, answer)

    def forget(self) -> None:
        self._entries.clear()
