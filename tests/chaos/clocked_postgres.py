"""A PostgreSQL whose clock a test puts forward, so that a night in some other year passes in seconds."""

import math
import shutil
import time
from datetime import datetime
from pathlib import Path

from local_stack.postgres import EmbeddedPostgres
from local_stack.unprivileged import User
from tests.chaos.clock import WallClock


class ClockedPostgres(EmbeddedPostgres):
    """Its clock runs as fast as any, from where `put` has put it; all of its processes share it."""

    def __init__(self, data_dir: Path, now: datetime, settings: dict[str, str]) -> None:
        super().__init__(data_dir, settings=settings)
        place = data_dir.with_name(f"{data_dir.name}-clock")
        place.mkdir(mode=0o755)
        self._clock = WallClock(place / "offset")
        # As root the server is somebody else, who may not be able to read ours.
        self._library = Path(shutil.copy(self._clock.environment["LD_PRELOAD"], place))
        self._offset_s = -(10**10)
        self.put(now)

    def put(self, now: datetime) -> None:
        """To this instant or up to a second before it. Only forward: time does not run back."""
        offset_s = math.floor(now.timestamp() - time.time())
        assert offset_s >= self._offset_s
        self._offset_s = offset_s
        self._clock.put(offset_s)

    def stop(self, mode: str = "fast") -> None:  # type: ignore[override]  # the modes are pg_ctl's
        super().stop(mode)  # type: ignore[arg-type]  # the base names the modes, we pass on any
        WallClock.clean(self.pid)

    def _command(self, user: User | None) -> list[str]:
        environment = {**self._clock.environment, "LD_PRELOAD": str(self._library)}
        return ["/usr/bin/env", *(f"{k}={v}" for k, v in environment.items()), *super()._command(user)]
