"""Notices through Redis: the fast path. Each has a poll behind it, so that a lost one costs a second, not a fire."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.lifecycle import Component
from shared.queue import keys
from shared.queue.connection import connect_blocking

PUBLISH_TIMEOUT_S = 0.3
SCHEDULES = "schedules"
RELAY = "relay"


def publisher(redis_url: str) -> Callable[[str], None]:
    """A function that publishes a notice; one that cannot be sent in time is dropped."""

    def publish(notice: str) -> None:
        with suppress(RedisError), connect_blocking(redis_url, timeout_s=PUBLISH_TIMEOUT_S) as client:
            client.publish(keys.NOTICES, notice)

    return publish


def schedules_changed(redis_url: str) -> Callable[[], None]:
    """What `Schedules` calls after an edit."""
    publish = publisher(redis_url)
    return lambda: publish(SCHEDULES)


class NoticeListener(Component):
    """Calls what belongs to a (channel, notice). After a reconnect it calls everything: something may have been missed."""

    name = "notices"

    def __init__(self, redis: Redis, calls: Mapping[tuple[str, str], Callable[[], None]]) -> None:
        self._redis = redis
        self._calls = calls

    async def run(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(*{channel for channel, _ in self._calls})
            for call in self._calls.values():
                call()
            while True:
                message: Any = await pubsub.get_message(timeout=5.0)
                if message is not None:
                    self._dispatch(message["channel"].decode(), message["data"].decode(errors="replace"))

    def _dispatch(self, channel: str, notice: str) -> None:
        call = self._calls.get((channel, notice))
        if call is not None:
            call()
