"""Which schema this code needs, and whether a database has it. Knows no Alembic: every process asks this as it starts."""

from sqlalchemy import Connection, text

from shared.core.errors import ConfigError

#: The revision that this code needs.
HEAD = "0002"


class SchemaBehind(ConfigError):
    """The database's schema is older than this code."""


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
