"""Statements that PostgreSQL plans once for each connection of psycopg2's, which prepares none by itself.

Planning takes it ten times as long as the work, where that is a row or two: 1.7 of 1.9 ms of processor time for `fire.sql`.
"""

from typing import Any

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.dialects import postgresql

from shared.db.statements import statement

#: With longer lists the plan should know how long they are, and planning no longer counts.
SHORT = 20

_numbering: Any = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
#: The statement is no longer there (a pooler between gave us another session), or what it returns has another type now (a
#: migration): nothing that the data can be blamed for.
_FORGOTTEN = ("26000", "0A000")


def plan_once(engine: Engine, *names: str) -> None:
    """Has these statements of `shared/db/sql` prepared where they are first executed. Before `send_lists_as_literals`."""
    prepared = {}
    for name in names:
        numbered = statement(name).compile(dialect=_numbering)
        values = ", ".join(f"%({parameter})s" for parameter in numbered.positiontup or ())
        prepared[str(statement(name).compile(dialect=engine.dialect))] = (
            f"PREPARE cuebx_{name} AS {numbered}",
            f"EXECUTE cuebx_{name}({values})",
        )

    def execute(
        connection: Any, cursor: Any, sql: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        found = next((body for body in prepared if sql.endswith(body)), None)
        if found is None or any(isinstance(each, list) and len(each) > SHORT for each in parameters.values()):
            return sql, parameters
        prepare, call = prepared[found]
        if prepare not in connection.info:
            cursor.execute(prepare)
            connection.info[prepare] = True
        return sql.removesuffix(found) + call, parameters

    def failed(context: ExceptionContext) -> None:
        if "EXECUTE cuebx_" in (context.statement or "") and (
            getattr(context.original_exception, "pgcode", None) in _FORGOTTEN
        ):
            context.is_disconnect = True  # the next connection prepares anew

    event.listen(engine, "before_cursor_execute", execute, retval=True)
    event.listen(engine, "handle_error", failed)
