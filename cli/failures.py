"""Errors of servers and drivers, in one line that names the variable to look at."""

import os

from shared.core.mask import mask


def explain(error: BaseException) -> str:
    """One line for an error that nobody expected; secrets masked."""
    from redis.exceptions import RedisError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from shared.db.errors import is_outage

    root = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    what = mask(_first_line(root))
    if isinstance(error, RedisError):
        return f"REDIS_URL: Redis at {_server('REDIS_URL')} does not serve ({what}): is it running?"
    if isinstance(error, SQLAlchemyError) or type(root).__module__.startswith("asyncpg"):
        if not is_outage(error):
            return f"DATABASE_URL: PostgreSQL at {_server('DATABASE_URL')} refuses ({what})"
        return (
            f"DATABASE_URL: PostgreSQL at {_server('DATABASE_URL')} does not serve ({what}): see cuebx doctor"
        )
    if isinstance(error, OSError):
        # asyncpg leaves refused and timed-out connections as they are.
        if error.filename is not None:
            return what
        return f"DATABASE_URL: cannot reach PostgreSQL at {_server('DATABASE_URL')} ({what}): is it running?"
    return f"unexpected {type(error).__name__}: {what} (LOG_LEVEL=DEBUG shows where)"


def _server(variable: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(os.environ.get(variable, ""))
    return f"{parts.hostname or '?'}:{parts.port}" if parts.port else parts.hostname or "its default address"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
