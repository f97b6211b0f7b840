"""Brings the schema to this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import migrations
from shared.db.revision import HEAD, current_revision
from shared.db.urls import for_psycopg2

#: One of these at a time, whoever else migrates (an arbitrary number that nothing else uses).
_LOCK = 0x43756542_58


def upgrade(database_url: str) -> tuple[str | None, str]:
    """Applies what is missing; returns the revisions before and after. Safe when several call it at once."""
    driver = for_psycopg2(database_url)
    engine = create_engine(driver.url, connect_args=driver.connect_args)
    try:
        # The lock is held by the session, not a transaction: revisions commit one by one below it.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as guard:
            guard.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            with engine.connect() as connection:
                before = current_revision(connection)
                connection.commit()
                config = Config(attributes={"connection": connection})
                config.set_main_option("script_location", str(Path(migrations.__file__).parent))
                command.upgrade(config, "head")
                connection.commit()
                after = current_revision(connection)
            guard.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
    finally:
        engine.dispose()
    return before, after or HEAD
