"""Messages of a queue, and its wake-up token."""

from uuid import UUID

from redis.asyncio import Redis

from shared.ports import Message
from shared.queue import keys

Q = "refunds"


def message(age: int, *, attempt: int = 1, priority: int = 5) -> Message:
    """Ids of the ledger sort by age: the lower, the older."""
    return Message(UUID(int=age), attempt, priority)


def ages(messages: list[Message]) -> list[int]:
    return [each.run_id.int for each in messages]


async def woken(redis: Redis) -> bool:
    """Whether the queue has a wake-up token, taking the token."""
    token = await redis.lpop(keys.wake(Q))  # type: ignore[misc]  # redis-py types it as either
    return token is not None
