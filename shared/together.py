"""What many callers want at the same moment, done together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST = 200


class Together(Generic[Item, Answer]):
    """A batch never waits for company: the first item is done at once, those that come meanwhile are the next batch.

    Unlike the recorder it keeps nothing for later: what `do` raises, every item of its batch hears.
    """

    def __init__(self, do: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        """`do` answers in the order of the items."""
        self._do = do
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Who is cancelled while he waits breaks into no batch: it was begun without him, or goes on."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            batch = [(item, answer) for item, answer in batch if not answer.done()]
            if batch:
                await self._do_one(batch)

    async def _do_one(self, batch: "Sequence[tuple[Item, asyncio.Future[Answer]]]") -> None:
        try:
            answers = await self._do([item for item, _ in batch])
            told = list(zip(batch, answers, strict=True))
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in told:
            if not answer.done():
                answer.set_result(result)
