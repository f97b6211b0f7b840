"""PostgreSQL, as far as the protocol needs it: transactions that lock rows and are seen once they commit, statements that are
one step, and time-outs. Which statements there are say `ledger.py`, `ledger_relay.py`, `stores.py` and `definitions.py`."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.exc import DataError, IntegrityError

from shared.db.statements import statement
from tests.model.processes import Blocked, Server
from tests.model.world import World, instant

Statement = Callable[..., list["Row"]]
STATEMENTS: dict[str, Statement] = {}


def answers(*texts: str | TextClause) -> Callable[[Statement], Statement]:
    """What this function does stands for these statements: a name in `shared/db/sql`, or a text."""

    def register(function: Statement) -> Statement:
        for each in texts:
            clause = each if isinstance(each, TextClause) else None
            if isinstance(each, str) and each.isidentifier():
                clause = statement(each)
            STATEMENTS[_normal(clause.text if clause is not None else str(each))] = function
        return function

    return register


@cache
def _normal(sql: str) -> str:
    return " ".join(sql.split())


class Row(dict[Any, Any]):
    """A row of an answer: by name, by attribute, by position."""

    def __getattr__(self, name: str) -> Any:
        try:
            return dict.__getitem__(self, name)
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, int | slice) else dict.__getitem__(self, key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    @property
    def _mapping(self) -> dict[str, Any]:
        return self


class Result(list[Row]):
    def all(self) -> "Result":
        return self

    def first(self) -> Row | None:
        return self[0] if self else None

    def scalar_one(self) -> Any:
        return self[0][0]


class Tx:
    """A transaction: what it wrote is its own until it commits, what it locked is nobody else's until it ends."""

    def __init__(self, database: "Database", who: str, bound_s: float) -> None:
        self.database, self.who, self.bound_s = database, who, bound_s
        self.writes: dict[tuple[str, Any], Any] = {}
        self.locks: set[Any] = set()
        self.seen_at = float("inf")  # it begins with its first statement
        self._now: datetime | None = None
        self.open = True
        self.detached = False
        database.open.append(self)

    def now(self) -> datetime:
        """now(): when the transaction's first statement began."""
        self._now = self._now or self.database.now()
        return self._now

    def get(self, table: str, key: Any) -> Any:
        at = (table, key)
        return self.writes[at] if at in self.writes else self.database.tables[table].get(key)

    def rows(self, table: str) -> list[Any]:
        """All rows, in the order of their keys."""
        committed = self.database.tables[table]
        mine = {key for name, key in self.writes if name == table}
        found = (self.get(table, key) for key in sorted({*committed, *mine}))
        return [row for row in found if row is not None]

    def put(self, table: str, key: Any, row: Any) -> None:
        self.writes[table, key] = row

    def lock(self, *what: Any, skip: bool = False) -> bool:
        """False where somebody else has it and `skip`; otherwise raises Blocked."""
        holder = self.database.locks.get(what)
        if holder is None or holder is self:
            self.database.locks[what] = self
            self.locks.add(what)
            return True
        if skip:
            return False
        raise Blocked(holder.who)

    def commit(self) -> None:
        if not self.open:
            raise ConnectionResetError("the server ended the transaction")
        changes = []
        for (table, key), after in self.writes.items():
            rows = self.database.tables[table]
            before = rows.get(key)
            if after is None:
                rows.pop(key, None)
            else:
                rows[key] = after
            changes.append((table, before, after))
        self._end()
        for watch in self.database.watches:
            watch(self, changes)

    def abort(self) -> None:
        if self.open and not self.detached:
            self._end()

    def _end(self) -> None:
        self.open = False
        for each in self.locks:
            del self.database.locks[each]
        self.database.open.remove(self)


class Database(Server):
    """The server. `watches` see every commit: its transaction, and (table, before, after)."""

    def __init__(self, world: World) -> None:
        super().__init__("postgres", timeout_s=4.0)
        self.world = world
        self.tables: dict[str, dict[Any, Any]] = defaultdict(dict)
        self.locks: dict[Any, Tx] = {}
        self.open: list[Tx] = []
        self.watches: list[Callable[[Tx, list[tuple[str, Any, Any]]], None]] = []
        self.started_at = -1e6
        self.clock_s = 0.0
        self.numbers: dict[str, int] = defaultdict(int)
        world.timers.append(self._expire)

    def now(self) -> datetime:
        """The server's clock. Without rule 1, whoever asks brings their own."""
        if not self.world.rules.on(1) and self.world.asking is not None:
            return instant(self.world.now + self.world.asking.skew_s)
        return instant(self.world.now + self.clock_s)

    def next(self, sequence: str) -> int:
        self.numbers[sequence] += 1
        return self.numbers[sequence]

    def restart(self) -> None:
        for tx in list(self.open):
            tx.detached = False
            tx.abort()
        self.started_at = self.world.now

    def _expire(self) -> None:
        """Rule 15: idle in a transaction, or waiting for a lock, for too long."""
        if self.world.rules.on(15):
            for tx in list(self.open):
                if self.world.now - tx.seen_at > tx.bound_s:
                    tx.detached = False
                    tx.abort()

    def run(self, tx: Tx, sql: TextClause, params: dict[str, Any]) -> Result:
        name = _normal(sql.text)
        if name not in STATEMENTS:
            raise AssertionError(f"the model does not know the statement: {name}")
        detail = {k: v for k, v in params.items() if k in ("ids", "attempts", "states", "keys", "next", "id")}
        return self.call(tx, STATEMENTS[name], detail, **params)

    def call(self, tx: Tx, function: Statement, detail: Any = None, **params: Any) -> Result:
        """One statement."""

        def do() -> Result:
            if not tx.open:
                raise ConnectionResetError("the server ended the transaction")
            tx.now()
            before = dict(tx.writes)
            try:
                result = Result(function(self, tx, **params))
            except BaseException:
                tx.writes = before  # a statement that waits or fails has done nothing
                raise
            tx.seen_at = self.world.now
            return result

        answer: Result = self.world.ask(self, function.__name__, do, detail=detail, tx=tx)
        return answer


def refuse(kind: type[DataError] | type[IntegrityError], why: str) -> Exception:
    """An error that the data are to blame for."""
    return kind("the statement", {}, Exception(why))
