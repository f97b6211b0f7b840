"""Opens the schedules: the scheduler's own entry point, on a synchronous connection of this command's."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import RedisError

from cli.services import STATEMENT_BOUND_S, read_settings
from scheduler_svc.schedules import Schedules
from shared.db.engine import sync_engine
from shared.db.revision import current_revision, refuse_older
from shared.queue import keys
from shared.queue.connection import connect_blocking

NOTICE_TIMEOUT_S = 0.5


@contextmanager
def open_schedules() -> Iterator[Schedules]:
    """Raises ConfigError where settings or schema do not fit."""
    settings = read_settings()
    engine = sync_engine(
        settings.database_url.get_secret_value(), application="cuebx-cli", bound_s=STATEMENT_BOUND_S
    )

    def notify() -> None:
        # It spares the leader's next look, within a second; without Redis that look comes all the same.
        with suppress(RedisError, OSError):
            url = settings.redis_url.get_secret_value()
            with connect_blocking(url, timeout_s=NOTICE_TIMEOUT_S) as client:
                client.publish(keys.NOTICES, "schedules")

    try:
        with engine.connect() as connection:
            refuse_older(current_revision(connection))
        yield Schedules(engine, notify)
    finally:
        engine.dispose()
