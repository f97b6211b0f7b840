"""The SQL files of `shared/db/sql`, by name: one verb, one statement."""

from functools import cache
from importlib.resources import files

from sqlalchemy import TextClause, text


@cache
def statement(name: str) -> TextClause:
    """The statement in `sql/<name>.sql`, ready to execute with either driver."""
    return text((files("shared.db") / "sql" / f"{name}.sql").read_text())
