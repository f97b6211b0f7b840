"""Handlers for `ping` that do one thing: what a test gives them."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from shared.core.outcomes import Outcome
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
