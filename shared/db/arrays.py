"""Lists on their way to PostgreSQL by psycopg2: as one literal each.

The driver spells a list out as `ARRAY['a', 'b', …]`: each element is adapted by itself, parsed by the server as an
expression and planned as one. For a batch of a thousand rows with a dozen columns that took longer than their work.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, event


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_SPELLED: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    int: str,
    float: repr,  # exact: the shortest text that is this double again
    bool: str,
    type(None): lambda _: "NULL",
    UUID: str,
    datetime: lambda instant: _quoted(instant.isoformat()),
}


def array_literal(values: list[Any]) -> str:
    """`{…}`, as `CAST(:values AS text[])` and the like read it. Raises KeyError for a type that is not known here."""
    return "{" + ",".join([(_SPELLED.get(type(value)) or _kin(value))(value) for value in values]) + "}"


def _kin(value: object) -> Callable[[Any], str]:
    """Of a type that is a text as well, as members of enumerations are."""
    if isinstance(value, str):
        return _quoted
    raise KeyError(type(value))


def send_lists_as_literals(engine: Engine) -> None:
    """For all statements with named parameters; lists of other types are the driver's, as before."""

    def spell(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if isinstance(parameters, dict):
            parameters = {name: _spelled(value) for name, value in parameters.items()}
        return statement, parameters

    event.listen(engine, "before_cursor_execute", spell, retval=True)


def _spelled(value: object) -> object:
    if not isinstance(value, list):
        return value
    try:
        return array_literal(value)
    except KeyError:
        return value
