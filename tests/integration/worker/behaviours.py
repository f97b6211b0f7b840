"""Handlers for `ping` that do one thing: what a test gives them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from shared.core.outcomes import Done, Outcome
from tests.wait import wait_until_async
from worker_svc.context import Handler, JobContext

Behaviour = Callable[[JobContext], Awaitable[Any]]


def handles(behaviour: Behaviour) -> dict[str, Handler]:
    async def handler(context: JobContext, _: Any) -> Outcome:
        return cast(Outcome, await behaviour(context))

    return {"ping": handler}


def returns(value: Any) -> dict[str, Handler]:
    async def behaviour(_: JobContext) -> Any:
        return value

    return handles(behaviour)


def raises(error: BaseException) -> dict[str, Handler]:
    async def behaviour(_: JobContext) -> Any:
        raise error

    return handles(behaviour)


class Held:
    """A handler that waits until the test lets it go, and remembers its contexts."""

    def __init__(self) -> None:
        self.contexts: list[JobContext] = []
        self.cancelled = 0
        self.go_on = asyncio.Event()

    async def __call__(self, context: JobContext, _: Any) -> Outcome:
        self.contexts.append(context)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Done({"attempt": context.run.attempt})

    async def started(self, times: int = 1) -> JobContext:
        await wait_until_async(lambda: len(self.contexts) >= times, what=f"{times} attempts")
        return self.contexts[-1]
