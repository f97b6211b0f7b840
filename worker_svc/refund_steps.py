"""The steps of paying refunds, together for all runs of a worker that are at the same one at this moment."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from uuid import UUID

from shared.db import refund_steps
from shared.db.engine import Database
from shared.db.errors import is_outage, was_locked_out
from shared.db.models import Refund
from shared.db.refund_steps import Settle, Take, Taken
from shared.together import Together

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Db = TypeVar("Db")

#: A refund that enters an index which forbids a second one waits for whoever enters another there; its neighbours do not.
LOCK_S = 0.5


class RefundSteps:
    """Each is committed when it has answered. None or False: nothing was done, look at this refund by itself.

    Raises what says nothing about whether it was committed: an outage.
    """

    def __init__(self, database: Database) -> None:
        # The first two are one statement each.
        self.take: Together[Take, Taken | None] = Together(_in(database.single, refund_steps.take, None))
        self.start: Together[Refund, UUID | None] = Together(_in(database.single, refund_steps.start, None))
        self.settle: Together[Settle, bool] = Together(_in(database.begin, refund_steps.settle, False))


def _in(
    opened: Callable[[], AbstractAsyncContextManager[Db]],
    step: Callable[[Db, Sequence[Item]], Awaitable[Sequence[Answer]]],
    nothing: Answer,
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]:
    async def do(items: Sequence[Item]) -> Sequence[Answer]:
        try:
            async with opened() as connection:
                return await step(connection, items)
        except Exception as error:
            if is_outage(error) and not was_locked_out(error):
                raise
            # One refund whose data PostgreSQL refuses, or that has to wait for somebody, shall not hold up the others (rule 9):
            # each by itself.
            return [nothing] * len(items)

    return do
