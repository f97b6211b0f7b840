"""What an error of the database says: of either driver, wrapped by SQLAlchemy or as it is."""

import asyncpg
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

#: What a database error can be made of: SQLAlchemy wraps most of the driver's, not those of connecting.
_DATABASE_ERRORS = (
    OSError,
    TimeoutError,
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
#: Classes of SQLSTATE that refuse the statement or its data: the same again would be refused again. Everything else
#: (connections, resources, time-outs, deadlocks, shutdown, a server that became read-only) passes.
_REFUSALS = frozenset({"0A", "21", "22", "23", "2F", "38", "39", "42", "44", "54", "P0"})


def is_outage(error: BaseException) -> bool:
    """Whether the database could not be reached or could not serve (try again), rather than refuse the data."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # SQLAlchemy has no class of its own for most of asyncpg's errors, those about data among them: the code tells.
    if state := _sqlstate(error):
        return state[:2] not in _REFUSALS
    if isinstance(error, (OperationalError, InterfaceError)):
        return True
    # A plain StatementError wraps what the driver could not encode; DBAPIError is its subclass.
    if isinstance(error, (DataError, IntegrityError, ProgrammingError)) or type(error) is StatementError:
        return False
    return isinstance(error, _DATABASE_ERRORS)


def was_locked_out(error: BaseException) -> bool:
    """Whether a statement did nothing because of what another transaction holds, for too long or for ever."""
    return _sqlstate(error) in ("55P03", "40P01")


def is_conflict(error: BaseException) -> bool:
    """Whether a constraint refused what a statement would have made: a key that exists, a second run of what runs alone."""
    return (_sqlstate(error) or "").startswith("23")


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or getattr(error, "sqlstate", None)
