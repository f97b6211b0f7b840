"""Statements that PostgreSQL plans once for each connection of psycopg2's, which prepares none by itself.

Planning takes it ten times as long as the work, where that is a row or two: 1.7 of 1.9 ms of processor time for `fire.sql`.
"""

import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.dialects import postgresql

from shared.db.statements import statement

#: With longer lists the plan should know how long they are, and planning no longer counts.
SHORT = 20

#: A plan that was made when a table was small is not kept for ever: nobody may have analysed it since.
KEPT_S = 60.0

_numbering: Any = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
#: The statement is not there, or there already (a pooler between gave us another session), or what it returns has another type
#: now (a migration): nothing that the data can be blamed for.
_FORGOTTEN = ("26000", "42P05", "0A000")


def plan_once(engine: Engine, *names: str) -> None:
    """Has these statements of `shared/db/sql` prepared where they are first executed. Before `send_lists_as_literals`."""
    prepared = {}
    for name in names:
        numbered = statement(name).compile(dialect=_numbering)
        # Two releases behind one pooler have different statements.
        own = f"cuebx_{name}_{sha256(str(numbered).encode()).hexdigest()[:8]}"
        values = ", ".join(f"%({parameter})s" for parameter in numbered.positiontup or ())
        prepared[str(statement(name).compile(dialect=engine.dialect))] = (
            (f"DEALLOCATE {own}", f"PREPARE {own} AS {numbered}"),
            f"EXECUTE {own}({values})",
        )

    def execute(
        connection: Any, cursor: Any, sql: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        found = next((body for body in prepared if sql.endswith(body)), None)
        if found is None or not _is_usual(parameters):
            return sql, parameters
        prepare, call = prepared[found]
        made_at = connection.info.get(call)
        if made_at is None or time.monotonic() - made_at > KEPT_S:
            for each in prepare if made_at is not None else prepare[1:]:
                cursor.execute(each)
            connection.info[call] = time.monotonic()
        return sql.removesuffix(found) + call, parameters

    def failed(context: ExceptionContext) -> None:
        # Where PREPARE failed, the statement is still the one that was asked for.
        of_ours = "EXECUTE cuebx_" in (sql := context.statement or "") or any(map(sql.endswith, prepared))
        if of_ours and getattr(context.original_exception, "pgcode", None) in _FORGOTTEN:
            context.is_disconnect = True  # the next connection prepares anew

    event.listen(engine, "before_cursor_execute", execute, retval=True)
    event.listen(engine, "handle_error", failed)


def _is_usual(parameters: Mapping[str, Any]) -> bool:
    """Short lists, and no look for some schedules `only`: the plan for all would read whatever is due to find them."""
    return parameters.get("only") is None and not any(
        isinstance(each, list) and len(each) > SHORT for each in parameters.values()
    )
