"""Waiting for a count in the database to become zero, on one connection: to connect for each look would be half the load."""

import time
from typing import Any

from sqlalchemy import text

from benchmarks.ours import Ours
from shared.db.engine import sync_engine

LOOK_EVERY_S = 0.1


def wait_for_none(ours: Ours, count: str, limit_s: float, **params: Any) -> None:
    """`count` is a statement with one number. Raises RuntimeError where that is not zero after `limit_s`."""
    deadline = time.monotonic() + limit_s
    engine = sync_engine(ours.database_url, application="benchmark", bound_s=60, pool_size=1, pre_ping=False)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while left := connection.execute(text(count), params).scalar_one():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{left} after {limit_s:g} s of: {count}")
                time.sleep(LOOK_EVERY_S)
    finally:
        engine.dispose()
