"""Every refusal has one form: `{"detail": "<what>: <what is wrong and how to put it right>"}`."""

import asyncpg
import structlog
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.requests import ClientDisconnect

from shared.core.errors import BadInput, place
from shared.db.errors import is_outage

log = structlog.get_logger(__name__)

RETRY_AFTER = {"Retry-After": "5"}
#: PostgreSQL's class of errors about values, such as a NUL in a text.
DATA_EXCEPTION = "22"


def install(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadInput, _bad_input)
    app.add_exception_handler(ClientDisconnect, _left)
    for kind in (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        app.add_exception_handler(kind, _database)
    app.add_exception_handler(Exception, _failed)


def unavailable(status: int = 503) -> HTTPException:
    """PostgreSQL is away: nothing was accepted, the caller is to come back."""
    return HTTPException(
        status, "PostgreSQL does not answer: nothing was stored, try again", headers=RETRY_AFTER
    )


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes) and error.body:  # nothing decoded it
        return _refused(422, "Content-Type: send application/json")
    first = error.errors()[0]
    where = place([part for part in first["loc"] if part not in ("body", "path", "query")]) or "body"
    if first["type"] == "json_invalid":
        return _refused(422, f"body: is no JSON ({first['ctx']['error']})")
    message = "is missing" if first["type"] == "missing" else first["msg"]
    return _refused(422, f"{where}: {message[:1].lower()}{message[1:]}")


def _bad_input(_: Request, error: Exception) -> JSONResponse:
    return _refused(422, str(error))


def _left(_: Request, __: Exception) -> JSONResponse:
    # Half a body and then nobody: no failure of ours. The answer is for the log of requests.
    return _refused(400, "body: ended before all of it was there")


def _database(request: Request, error: Exception) -> JSONResponse:
    if is_data(error):
        return _refused(
            422,
            "body: holds a value that PostgreSQL cannot store (a NUL, a lone surrogate, or a number or time out of range)",
        )
    if not is_outage(error):
        raise error
    log.warning("request_without_database", path=request.url.path, error=type(error).__name__)
    away = unavailable()
    return JSONResponse({"detail": away.detail}, away.status_code, headers=RETRY_AFTER)


def _failed(_: Request, __: Exception) -> JSONResponse:
    # Starlette raises it again for the log, with its traceback.
    return _refused(500, "the API failed; its log says why")


def is_data(error: Exception) -> bool:
    """Whether PostgreSQL, or its driver, refused a value."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None) or ""
    return state.startswith(DATA_EXCEPTION) or isinstance(
        getattr(cause, "__cause__", None), asyncpg.DataError
    )


def _refused(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
