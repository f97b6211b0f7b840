"""What a process tells about itself, for `cuebx status`: one command each time, and gone a while after the last."""

from collections.abc import Mapping
from importlib.resources import files

from redis.asyncio import Redis


class Telling:
    def __init__(self, redis: Redis, key: str, expires_s: int) -> None:
        self._key = key
        self._expires_s = expires_s
        self._redis = redis
        self._script = redis.register_script((files("shared.queue") / "lua" / "tell.lua").read_text())

    async def tell(self, fields: Mapping[str, str | int]) -> None:
        """Raises redis's errors."""
        pairs = [part for pair in fields.items() for part in pair]
        await self._script(keys=[self._key], args=[self._expires_s, *pairs])

    async def end(self) -> None:
        await self._redis.delete(self._key)
