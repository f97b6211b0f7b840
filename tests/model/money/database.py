"""A database in memory, for the product's own code: sessions that roll back, ORM rows, and a Python function for each SQL file.

`statement` is replaced by the name itself, so `shared/db/*.py` runs as it is. A statement that nobody simulates is an error,
so that a new one cannot slip by.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from sqlalchemy import Select, Update
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, ColumnElement, Null
from sqlalchemy.sql.functions import FunctionElement

from shared.db import audit
from shared.db.models import Base
from tests.model.money.stage import LOST_AFTER, LOST_BEFORE, Stage

Row = SimpleNamespace
Sql = Callable[["Session", Row], Any]


def _columns(model: type[Base]) -> list[str]:
    return list(model.__mapper__.columns.keys())


class Result:
    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)

    def all(self) -> list[Row]:
        return self._rows

    def first(self) -> Row | None:
        return self._rows[0] if self._rows else None

    def one(self) -> Row:
        [row] = self._rows
        return row

    def scalar(self) -> Any:
        return next(iter(vars(self._rows[0]).values())) if self._rows else None

    scalar_one = scalar

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)


class Session:
    """One transaction. Writes through `put`, `insert` and `delete` can be undone; ORM objects are flushed before statements."""

    def __init__(self, database: "SimDatabase") -> None:
        self.database = database
        self.done: list[str] = []  # for the trace
        self._undo: list[Callable[[], object]] = []
        self._loaded: list[tuple[Row, Any, dict[str, Any]]] = []

    def put(self, row: Row, **values: Any) -> Row:
        before = {name: getattr(row, name) for name in values}
        self._undo.append(lambda: vars(row).update(before))
        vars(row).update(values)
        return row

    def insert(self, table: str, **values: Any) -> Row:
        rows = self.database.tables[table]
        row = Row(**{"seq": next(self.database.numbers), "id": uuid4(), **values})
        rows[row.id] = row
        self._undo.append(lambda: rows.pop(row.id))
        return row

    def delete(self, table: str, row: Row) -> None:
        rows = self.database.tables[table]
        del rows[row.id]
        self._undo.append(lambda: rows.setdefault(row.id, row))

    def roll_back(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    # ------------------------------------------------------------------------------------ what the product sees of it

    async def execute(self, sql: Any, params: dict[str, Any] | None = None) -> Result:
        await self.flush()
        if isinstance(sql, str):
            self.done.append(sql)
            rows = self.database.sql[sql](self, Row(**(params or {})))
            return Result(await rows if hasattr(rows, "__await__") else rows)
        if isinstance(sql, Update):
            self._update(sql)
            return Result([])
        if isinstance(sql, Select):
            return Result(self._select(sql))
        if sql is audit._RECORD:
            decided = dict(params or {})
            self.insert("audit_log", action=decided["action"], subject=decided["id"])
            return Result([])
        [text] = [each for begins, each in self.database.texts.items() if str(sql).startswith(begins)]
        return Result(text(self, Row(**(params or {}))))

    async def get(self, model: type[Base], key: Any, **_: Any) -> Any:
        await self.flush()
        key = key[1] if isinstance(key, tuple) else key
        row = self.database.tables[model.__tablename__].get(key)
        return None if row is None else self._load(model, row)

    async def get_one(self, model: type[Base], key: Any) -> Any:
        found = await self.get(model, key)
        assert found is not None
        return found

    async def refresh(self, loaded: Any) -> None:
        for row, each, before in self._loaded:
            if each is loaded:
                before.update({name: getattr(row, name) for name in before})
                vars(each).update(before)

    def add(self, made: Any) -> None:
        defaults = {"id": uuid4(), "started_at": self.database.stage.now}
        table = made.__tablename__
        values = {name: getattr(made, name) for name in _columns(type(made))}
        made.id = defaults["id"]
        self.insert(table, **{name: value or defaults.get(name) for name, value in values.items()})

    async def flush(self) -> None:
        for row, loaded, before in self._loaded:
            changed = {
                name: getattr(loaded, name) for name in before if getattr(loaded, name) != before[name]
            }
            if changed:
                self.done.append("row")
                self.put(row, **changed, updated_at=self.database.tick())
                before.update(changed)

    @asynccontextmanager
    async def begin_nested(self) -> AsyncIterator[None]:
        yield

    # ------------------------------------------------------------------------------------------------- SQLAlchemy's Core

    def _load(self, model: type[Base], row: Row) -> Any:
        values = {name: getattr(row, name) for name in _columns(model) if hasattr(row, name)}
        loaded = model(**values)
        self._loaded.append((row, loaded, values))
        return loaded

    def _update(self, sql: Any) -> None:
        self.done.append(f"update {sql.table.name}")
        for row in self._matching(sql.table.name, sql.whereclause):
            self.put(row, **{column.name: self._value(new, row) for column, new in sql._values.items()})

    def _select(self, sql: Select[Any]) -> list[Row]:
        columns = list(sql.selected_columns)
        if not sql.get_final_froms():
            return [Row(now=self.database.stage.now)]
        rows = self._matching(sql.get_final_froms()[0].name, sql.whereclause)  # type: ignore[attr-defined]  # a table
        return [Row(**{c.name: getattr(row, c.name) for c in columns}) for row in rows]

    def _matching(self, table: str, where: Any) -> list[Row]:
        clauses = where.clauses if isinstance(where, BooleanClauseList) else [where]
        return [r for r in self.database.tables[table].values() if all(self._holds(c, r) for c in clauses)]

    def _holds(self, clause: ColumnElement[Any], row: Row) -> bool:
        assert isinstance(clause, BinaryExpression)
        left, right = getattr(row, clause.left.name), self._value(clause.right, row)
        return bool(left is None if clause.operator is operators.is_ else clause.operator(left, right))

    def _value(self, value: Any, row: Row) -> Any:
        match value:
            case BindParameter():
                return value.value
            case Null():
                return None
            case FunctionElement(name="coalesce"):
                column, other = value.clauses
                found = getattr(row, column.name)
                return self._value(other, row) if found is None else found
            case ColumnElement() if str(value) not in ("now()",):
                raise AssertionError(f"not simulated: {value}")
        return self.database.tick()


class SimDatabase:
    """`begin` and `session` are both one step of the stage: before it nothing has happened, after it all or nothing."""

    def __init__(self, stage: Stage, tables: Sequence[str]) -> None:
        self.stage = stage
        self.numbers = itertools.count(1)
        self.rules = Row()  # those of the database's own that a scenario switches off
        names = [*tables, "job_runs", "audit_log"]
        self.tables: dict[str, dict[Any, Row]] = {name: {} for name in names}
        self.sql: dict[str, Sql] = {}
        self.texts: dict[str, Sql] = {}
        self._ticks = 0

    def tick(self) -> Any:
        """Now, and never the same twice: two transactions of PostgreSQL's do not begin in the same microsecond."""
        self._ticks += 1
        return self.stage.now + timedelta(microseconds=self._ticks)

    def rows(self, table: str, **equal: Any) -> list[Row]:
        found = self.tables[table].values()
        return [r for r in found if all(getattr(r, name) == value for name, value in equal.items())]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        word = await self.stage.point("transaction")
        if word == LOST_BEFORE:
            raise ConnectionResetError("no connection to the database")
        session = Session(self)
        try:
            yield session
            await session.flush()
        except BaseException as error:
            session.roll_back()
            self.stage.say(f"    rolled back: {' '.join(session.done)} ({type(error).__name__})")
            raise
        self.stage.say(f"    committed: {' '.join(session.done)}", step=True)
        if word == LOST_AFTER:
            raise ConnectionResetError("the commit's answer was lost")

    begin = single = session

    def alone(self) -> Session:
        """For scenarios: writes at once."""
        return Session(self)
