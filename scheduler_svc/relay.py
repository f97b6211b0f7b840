"""Moves due runs from the ledger into Redis: pick, push, mark.

Killed between push and mark it leaves runs `pending` whose message is out already; the next round pushes the same message
again, which is no second one (rule 5).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from scheduler_svc import metrics
from scheduler_svc.outages import Outages
from shared.core.jobspec import Queue
from shared.db import ledger
from shared.db.engine import Database
from shared.failpoints import Point, failpoint
from shared.lifecycle import Component
from shared.ports import Message, Transport

log = structlog.get_logger(__name__)

PER_QUEUE = 500
#: The firing path looks once a second for runs that are due, and kicks; this is for when it is busy.
BACKSTOP_S = 5.0
#: An idle worker claims what was announced within milliseconds: the mark lets it go first, for it holds the rows until its
#: commit is on disk.
MARK_AFTER_S = 0.02


class Relay(Component):
    name = "relay"

    def __init__(self, database: Database, transport: Transport, outages: Outages) -> None:
        self._database = database
        self._transport = transport
        self._outages = outages
        self._wanted = asyncio.Event()
        self._look = True
        self._announced: list[tuple[str, Sequence[Message]]] = []
        self._pushed: list[Message] = []  # and not marked yet
        self._mark_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def kick(self) -> None:
        """There may be something to relay."""
        self._look = True
        self._wanted.set()

    def announce(self, ready: Mapping[str, Sequence[Message]]) -> None:
        """There is, by queue: runs committed a moment ago, which need not be looked up. Those that do not reach Redis are
        still pending, and found by the next look."""
        if ready:
            self._announced += ready.items()
            self._wanted.set()

    def kick_in(self, seconds: float) -> None:
        """There will be; replaces an earlier announcement."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.kick)

    async def run(self) -> None:
        # Also after a failure: what was announced before it is pending, however much came together during an outage.
        self._announced.clear()
        self._pushed.clear()
        self._look = True
        while True:
            self._wanted.clear()
            await self._push_announced()
            if self._look:
                self._look = False
                await self._mark_pushed()
                while await self.relay_once() >= PER_QUEUE:
                    await self.relay_announced()
            await self._rest()

    async def _rest(self) -> None:
        """Until something is wanted, or is to be done anyway: the mark, or a look."""
        left_s = self._mark_at - time.monotonic() if self._pushed else BACKSTOP_S
        # Where nothing is left, now: what is announced without end must not put the mark off, whatever `wait_for` makes of 0 s.
        if left_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), left_s)
                return
        if self._pushed:
            await self._mark_pushed()
        else:
            self._look = True

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def relay_announced(self) -> None:
        """What was announced so far: what comes meanwhile waits until the others were looked for."""
        await self._push_announced()
        await self._mark_pushed()

    async def relay_once(self) -> int:
        """One round; the number of runs of the fullest queue."""
        async with self._outages.watch_postgres(), self._database.single() as connection:
            picked = await ledger.pick_due(connection, [queue.value for queue in Queue], per_queue=PER_QUEUE)
        by_queue: dict[str, list[Message]] = {}
        for each in picked:
            by_queue.setdefault(each.queue, []).append(each.message)
        for queue, messages in by_queue.items():
            await self._push(queue, messages)
            await self._mark_pushed()
        return max(map(len, by_queue.values()), default=0)

    async def _push_announced(self) -> None:
        announced, self._announced = self._announced, []
        for queue, messages in announced:
            await self._push(queue, messages)

    async def _push(self, queue: str, messages: Sequence[Message]) -> None:
        failpoint(Point.RELAY_BEFORE_PUSH)
        async with self._outages.watch_redis():
            await self._transport.push(queue, messages)
        if not self._pushed:
            self._mark_at = time.monotonic() + MARK_AFTER_S
        self._pushed += messages
        failpoint(Point.RELAY_PUSHED)

    async def _mark_pushed(self) -> None:
        pushed, self._pushed = self._pushed, []
        if not pushed:
            return
        async with self._outages.watch_postgres(), self._database.single() as connection:
            marked = await ledger.mark_queued(connection, pushed)
        metrics.RELAYED.inc(len(pushed))
        log.debug("runs_relayed", runs=len(pushed), marked=marked)
