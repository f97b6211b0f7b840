"""The real clocks: PostgreSQL's for what is due, the monotonic one for what may be trusted (rule 1)."""

import time
from datetime import datetime

from shared.db.engine import Database


class DatabaseClock:
    """See `shared.ports.Clock`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> datetime:
        rows = await self._database.rows("SELECT now()")
        now: datetime = rows[0][0]
        return now

    def monotonic(self) -> float:
        return time.monotonic()
