"""An HTTP exchange as the sandboxes see it: a request read in full, an answer that can be kept and given again."""

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request


@dataclass(frozen=True)
class Call:
    """One request. `route` is its method and path template: the name it is counted under."""

    method: str
    path: str
    route: str
    path_params: dict[str, str]
    query: QueryParams
    headers: Headers
    body: bytes

    @classmethod
    async def read(cls, request: Request, template: str) -> "Call":
        return cls(
            method=request.method,
            path=request.url.path,
            route=f"{request.method} {template}",
            path_params=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=await request.body(),
        )


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, content: Any, headers: dict[str, str] | None = None) -> "Answer":
        return cls(status, json.dumps(content, separators=(",", ":")).encode(), headers or {})

    def with_headers(self, extra: dict[str, str]) -> "Answer":
        return Answer(self.status, self.body, {**self.headers, **extra})


class RefusedError(Exception):
    """Raised by the providers' code to end a request with an answer that is not a success.

    `ran` tells whether the work had started: Stripe keeps such an answer for the idempotency key, and forgets others.
    """

    def __init__(self, answer: Answer, *, ran: bool = False) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.ran = ran
