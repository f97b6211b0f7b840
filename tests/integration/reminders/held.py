"""Calls that are held at a certain point, and work that is killed there."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from shared.ports import Mailer, MailEvent, MailVersion, may_leave
from tests.fakes.limiter import FakeRateLimiter


class Unhurried(FakeRateLimiter):
    """Gives everybody a turn at once, or, `held`, nobody before `release`; of `held_names`, the next one; and nobody after
    the next `hold_after_turns`."""

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self.held_names: set[str] = set()
        self.hold_after_turns: int | None = None
        self.reached = asyncio.Event()
        self.release = asyncio.Event()

    async def acquire(self, name: str, *, rate_per_s: int, timeout_s: float) -> None:
        self.turns.append(name)
        if self.hold_after_turns is not None:
            self.hold_after_turns -= 1
        if self.held or name in self.held_names or self.hold_after_turns == -1:
            self.held_names.discard(name)
            self.reached.set()
            await self.release.wait()


class HeldMailer(Mailer):
    """Holds calls before or after they are made, for a process that dies or sleeps just there."""

    def __init__(self, inner: Mailer) -> None:
        self._inner = inner
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.hold_before = False
        self.hold_after = False
        #: Before the call after so many others.
        self.hold_after_calls: int | None = None

    async def send_batch(
        self,
        versions: Sequence[MailVersion],
        *,
        tag: str,
        idempotency_key: UUID,
        before_call: Callable[[], None] = may_leave,
    ) -> Sequence[str]:
        if self.hold_before or self.hold_after_calls == 0:
            await self._hold()
        elif self.hold_after_calls is not None:
            self.hold_after_calls -= 1
        ids = await self._inner.send_batch(
            versions, tag=tag, idempotency_key=idempotency_key, before_call=before_call
        )
        if self.hold_after:
            await self._hold()
        return ids

    async def _hold(self) -> None:
        self.hold_before = self.hold_after = False
        self.hold_after_calls = None
        self.reached.set()
        await self.go_on.wait()

    async def events(self, tag: str) -> Sequence[MailEvent]:
        return await self._inner.events(tag)

    async def check(self) -> None:
        await self._inner.check()

    async def close(self) -> None:
        await self._inner.close()


async def killed_at(reached: asyncio.Event, work: Awaitable[object]) -> None:
    """Runs `work` until `reached`, and no further: nothing is written any more, as after a kill -9."""
    assert await ended_or_killed(reached, work), "it ended before it could be killed"


async def ended_or_killed(reached: asyncio.Event, work: Awaitable[object]) -> bool:
    """As `killed_at`; False where it ended before."""
    task = asyncio.ensure_future(work)
    arrival = asyncio.ensure_future(reached.wait())
    async with asyncio.timeout(10):
        await asyncio.wait({task, arrival}, return_when=asyncio.FIRST_COMPLETED)
    arrival.cancel()
    killed = not task.done()
    task.cancel()
    await asyncio.gather(task, arrival, return_exceptions=True)
    return killed
