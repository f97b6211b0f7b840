"""Faults on demand: which requests they meet, and what they do to them."""

import itertools
import random
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field

from local_stack.sandbox.answers import Call

Mode = Literal["status", "delay", "drop_before", "drop_after", "rate_limit"]


class Match(BaseModel):
    """Requests that a fault meets: all that is given must hold. `path` may end with `*`; control paths never match."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str | None = None
    method: str | None = None
    body_contains: str | None = None

    def meets(self, call: Call) -> bool:
        if self.method is not None and self.method.upper() != call.method:
            return False
        if self.path is not None and not _path_meets(self.path, call.path):
            return False
        if self.body_contains is None:
            return True
        text = call.body.decode(errors="replace")
        return self.body_contains in text or self.body_contains in unquote_plus(text)


def _path_meets(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


class FaultSpec(BaseModel):
    """What `POST /_sandbox/faults` takes.

    - `status`: answer `status` (with `body`, else the provider's usual one). `commit` (default false): the work is done
      all the same. `saved` (Stripe; default: true for 500): the idempotency key keeps this answer and replays it.
    - `delay`: answer after `delay_s`. `commit` (default true): the work is done first, else after the wait.
    - `drop_before`, `drop_after`: cut the connection instead of the work, or instead of the answer.
    - `rate_limit`: 429 as the provider says it; nothing is done.

    `delay_s` also delays the other modes. A fault meets its next `times` requests (default: once, or without end if there is a
    `probability`), each with `probability`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Match = Match()
    mode: Mode
    status: int = Field(default=500, ge=400, le=599)
    body: dict[str, Any] | None = None
    delay_s: float = Field(default=0, ge=0, le=300)
    times: int | None = Field(default=None, ge=1)
    probability: float | None = Field(default=None, ge=0, le=1)
    commit: bool | None = None
    saved: bool | None = None

    @property
    def commits(self) -> bool:
        return self.mode != "status" if self.commit is None else self.commit

    @property
    def is_saved(self) -> bool:
        return self.mode == "status" and (self.status == 500 if self.saved is None else self.saved)


@dataclass
class Fault:
    id: str
    spec: FaultSpec
    remaining: int | None
    hits: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, **self.spec.model_dump(), "remaining": self.remaining, "hits": self.hits}


class Faults:
    """The faults in force, oldest first; the first that meets a request and is not used up has it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._faults: list[Fault] = []

    def add(self, spec: FaultSpec) -> Fault:
        endless = spec.times is None and spec.probability is not None
        fault = Fault(f"fault_{next(self._numbers)}", spec, None if endless else spec.times or 1)
        self._faults.append(fault)
        return fault

    def pick(self, call: Call) -> FaultSpec | None:
        for fault in self._faults:
            if fault.remaining == 0 or not fault.spec.match.meets(call):
                continue
            if fault.spec.probability is not None and self._random.random() >= fault.spec.probability:
                continue
            fault.hits += 1
            if fault.remaining is not None:
                fault.remaining -= 1
            return fault.spec
        return None

    def list(self) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self._faults]

    def clear(self, fault_id: str | None = None) -> int:
        """Remove one fault, or all; returns how many."""
        kept = [fault for fault in self._faults if fault_id is not None and fault.id != fault_id]
        removed = len(self._faults) - len(kept)
        self._faults = kept
        return removed
