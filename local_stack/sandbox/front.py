"""The way of every provider request: refusal (credentials, rate), fault, work, count."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from local_stack.sandbox.answers import Answer, Call, RefusedError
from local_stack.sandbox.misbehaviour import Faults, FaultSpec
from local_stack.sandbox.serving import abort_connection

Work = Callable[[Call], Answer]


class Provider(Protocol):
    """What differs between the providers."""

    def admit(self, call: Call) -> dict[str, str]:
        """Headers for the answer; raises RefusedError for bad credentials or too many requests."""

    def error(self, status: int, body: dict[str, Any] | None) -> Answer:
        """An error answer with this body, or with the provider's usual one for the status."""

    async def perform(self, call: Call, fault: FaultSpec | None, work: Work) -> Answer:
        """Do the work under the fault: `under_fault`, with whatever the provider wraps around it."""


class Front:
    def __init__(self, provider: Provider, faults: Faults) -> None:
        self._provider = provider
        self._faults = faults
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def counters(self) -> dict[str, dict[str, int]]:
        """Requests by route and status; a cut connection counts as `cut`."""
        return {route: dict(counts) for route, counts in sorted(self._counts.items())}

    def route(self, method: str, template: str, work: Work) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                call = await Call.read(request, template)
            except ClientDisconnect:  # nobody is there to be answered
                return Response(status_code=400)
            answer = await self._answer(call, work)
            self._counts[call.route]["cut" if answer is None else str(answer.status)] += 1
            if answer is None:
                return CutConnection()
            return Response(answer.body, answer.status, answer.headers, "application/json")

        return Route(template, endpoint, methods=[method])

    async def _answer(self, call: Call, work: Work) -> Answer | None:
        """None: cut the connection."""
        try:
            headers = self._provider.admit(call)
        except RefusedError as refusal:
            return refusal.answer
        fault = self._faults.pick(call)
        if fault is None:
            return (await self._perform(call, None, work)).with_headers(headers)
        if fault.mode in ("drop_before", "rate_limit") or (
            fault.mode == "status" and not fault.commits and not fault.is_saved
        ):
            await asyncio.sleep(fault.delay_s)
            answer: Answer | None = self._instead(fault)
        else:
            answer = await self._perform(call, fault, work)
            if fault.mode == "drop_after" or (fault.mode == "status" and not fault.is_saved):
                answer = self._instead(fault)
        return answer and answer.with_headers(headers)

    async def _perform(self, call: Call, fault: FaultSpec | None, work: Work) -> Answer:
        try:
            return await self._provider.perform(call, fault, work)
        except RefusedError as refusal:
            return refusal.answer

    def _instead(self, fault: FaultSpec) -> Answer | None:
        if fault.mode in ("drop_before", "drop_after"):
            return None
        return self._provider.error(429 if fault.mode == "rate_limit" else fault.status, fault.body)


async def under_fault(provider: Provider, fault: FaultSpec | None, work: Callable[[], Answer]) -> Answer:
    """Do the work with the fault's delay around it and, for a saved error, with the error as its result."""
    if fault is None:
        return work()
    if not fault.commits:
        await asyncio.sleep(fault.delay_s)
    answer = work() if fault.commits or fault.mode != "status" else None
    if answer is None or fault.is_saved:
        answer = provider.error(fault.status, fault.body)
    if fault.commits:
        await asyncio.sleep(fault.delay_s)
    return answer


class CutConnection(Response):
    """No answer: the TCP connection is reset under the client's request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await abort_connection(scope, receive)
