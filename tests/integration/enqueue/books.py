"""What a test enqueues, and what is there of it afterwards."""

from typing import Any
from uuid import UUID

from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.jobs import PingArgs
from shared.queue.transport import RedisTransport

MAINTENANCE = "maintenance"
AT_ONCE, LATER = PingArgs(), PingArgs(sleep_s=1)


async def runs(database: Database) -> list[Any]:
    return await database.rows("SELECT * FROM job_runs ORDER BY id")


async def messages(enqueuer: Enqueuer, transport: RedisTransport) -> list[tuple[UUID, int]]:
    await enqueuer.close()  # nobody else waits for a push
    return [(message.run_id, message.attempt) for message in await transport.take(MAINTENANCE, 100)]
