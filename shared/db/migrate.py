"""Brings the schema to this version, and tells whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

import migrations
from shared.core.errors import ConfigError
from shared.db.urls import for_psycopg2

#: One of these at a time, whoever else migrates (an arbitrary number that nothing else uses).
_LOCK = 0x43756542_58
#: The revision that this code needs.
HEAD = "0001"


class SchemaBehind(ConfigError):
    """The database's schema is older than this code."""


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


def current_revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def refuse_older(revision: str | None) -> None:
    """Raises SchemaBehind where a process would meet tables it does not know. A newer schema is served (rolling deploy)."""
    if revision is None or revision < HEAD:
        raise SchemaBehind(
            f"the database's schema is at {revision or 'nothing'}, this version needs {HEAD}: run cuebx migrate"
        )
