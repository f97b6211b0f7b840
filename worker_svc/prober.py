"""Ends pauses that queues put on themselves, once the provider serves again (rule 23)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from shared.core.errors import PauseKind
from shared.core.jobspec import Queue
from shared.db import pauses
from shared.db.engine import Database
from shared.lifecycle import Component

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
FIRST_S = 5.0
CAP_S = 300.0


class Prober(Component):
    """Probes of the queues it serves are taken one at a time from the table, whichever worker comes first; each puts off
    the next with backoff."""

    name = "prober"

    def __init__(
        self,
        database: Database,
        probes: Mapping[Queue, Callable[[], Awaitable[None]]],
        resumed: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._probes = probes
        self._resumed = resumed

    async def run(self) -> None:
        while True:
            while await self.probe_once():
                pass
            await asyncio.sleep(LOOK_EVERY_S)

    async def probe_once(self) -> bool:
        """Whether a probe was due."""
        async with self._database.single() as connection:
            names = [queue.value for queue in self._probes]
            due = await pauses.take_due_probe(connection, names, next_after_s=FIRST_S, cap_s=CAP_S)
        if due is None:
            return False
        try:
            # A pause for a rate limit has no more to it than its end.
            if due.cause is not PauseKind.RATE:
                await self._probes[Queue(due.name)]()
        except Exception as error:
            log.warning(
                "probe_failed",
                queue=due.name,
                cause=due.cause,
                error=f"{type(error).__name__}: {error}",
                probes=due.probes,
            )
            return True
        async with self._database.begin() as connection:
            ended = await pauses.end_probed(connection, due)
        if ended:
            log.info("queue_resumed", queue=due.name, cause=due.cause)
            await self._resumed()
        return True
