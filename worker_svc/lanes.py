"""Lanes: the tasks that attempts run in. Many handlers await nothing; a task and a timer for each cost more than they do.

A lane begins one attempt after the other for as long as none of them awaits anything. As soon as one does, the lane is its
own, its time-out is set, and another lane begins what is left: so whoever awaits has a task to itself, to be cancelled
without its neighbours, and nobody waits for anybody. Nor does a lane go on after a handler that left something in it.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context

from worker_svc.attempts import Attempt

Tell = Callable[[], None]
Execute = Callable[[Attempt, Tell, Tell], Awaitable[None]]


class Lanes:
    """Runs attempts, in the order in which they were added."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._waiting: deque[tuple[Attempt, Tell, Tell]] = deque()
        #: The lane that has awaited nothing yet, and what it is at.
        self._open: asyncio.Task[None] | None = None
        self._beginning: Attempt | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps none alive

    def add(self, attempt: Attempt, handled: Tell, ended: Tell) -> None:
        self._waiting.append((attempt, handled, ended))
        if self._open is None:
            self._begin()

    def _begin(self) -> None:
        self._open = asyncio.create_task(self._run())
        self._tasks.add(self._open)
        self._open.add_done_callback(self._ended)

    async def _run(self) -> None:
        me = self._open
        # The loop comes to this before it comes back to whatever is awaited here.
        look = asyncio.get_running_loop().call_soon(self._one_awaits)
        context, holders = copy_context(), sys.getrefcount(me)
        while self._waiting and self._open is me:
            self._beginning, handled, ended = self._waiting.popleft()
            await self._execute(self._beginning, handled, ended)
            if copy_context() != context or sys.getrefcount(me) > holders:
                # What it bound would be bound for the next one, too; and who still holds this task (a task group or a
                # time-out that was entered and not left) may cancel it later. The rest has another.
                return
        if self._open is me:
            look.cancel()
            self._open = self._beginning = None

    def _one_awaits(self) -> None:
        if self._beginning is not None:
            self._beginning.limit()
        self._open = self._beginning = None
        if self._waiting:
            self._begin()

    def _ended(self, lane: "asyncio.Task[None]") -> None:
        self._tasks.discard(lane)
        if self._open is lane:  # somebody cancelled it before it began
            self._one_awaits()
