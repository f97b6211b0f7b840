"""Types of settings that are more than a text. What they refuse would fail later: as a traceback, or at each call."""

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from redis import RedisError

from shared.core.schedule import LONGEST_INTERVAL_S
from shared.db.urls import for_asyncpg
from shared.queue.connection import connect

REDIS_FORM = "it looks like redis://host:6379/0 (or rediss://, unix://)"


def _database_url(value: str) -> None:
    for_asyncpg(value)  # it reads the certificates, too


def _redis_url(value: str) -> None:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(f"is no Redis URL; {REDIS_FORM}")
    path = ""
    try:
        # Nothing connects: redis-py looks at some parts of a URL only when it makes a connection.
        connect(value, client_name="settings").connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no type for it
        path = urlsplit(value).path
    except (ValueError, TypeError, RedisError, OSError) as error:
        raise ValueError(f"is no URL that redis-py can use ({type(error).__name__}); {REDIS_FORM}") from None
    if not re.fullmatch(r"/.+" if value.startswith("unix://") else r"(/\d{0,9})?", path):
        raise ValueError(
            f"has a path that is no {'socket' if value.startswith('unix') else 'number'}; {REDIS_FORM}"
        )


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        usable = usable and value.isascii() and value.isprintable() and " " not in value
    except ValueError:  # a port that is none, half an IPv6 address
        usable = False
    if not usable:
        raise ValueError("is no URL; it looks like https://host/path")
    return value.rstrip("/")


def _sentry_dsn(value: str) -> None:
    if not re.fullmatch(r"https?://[!-?A-~]+@[\w.:\[\]-]+(/[\w.-]+)*/\d+", value, re.ASCII):
        raise ValueError("is no DSN; it looks like https://key@host/1")
    _http_url(value)


def _header_text(value: str) -> None:
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError(
            "holds a character that cannot be sent in a header (a blank, a line break, an accent)"
        )


def _host(value: str) -> str:
    labels = value.rstrip(".").split(".")
    if not re.fullmatch(r"[\w.:%-]+", value, re.ASCII) or not all(0 < len(label) < 64 for label in labels):
        raise ValueError("is no address; it looks like 127.0.0.1, ::1 or localhost")
    return value


def _line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("has a line break, or another character that cannot be printed")
    return value


def _secret(check: Callable[[str], None]) -> AfterValidator:
    def checked(value: SecretStr) -> SecretStr:
        check(value.get_secret_value())
        return value

    return AfterValidator(checked)


DatabaseUrl = Annotated[SecretStr, _secret(_database_url)]
RedisUrl = Annotated[SecretStr, _secret(_redis_url)]
SentryDsn = Annotated[SecretStr, _secret(_sentry_dsn)]
#: A key or token that goes into a header: ours to a provider, or somebody's to us.
HeaderSecret = Annotated[SecretStr, _secret(_header_text)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Host = Annotated[str, AfterValidator(_host)]
Line = Annotated[str, AfterValidator(_line)]
#: Whole seconds that an interval of a schedule can have.
Seconds = Annotated[int, Field(ge=1, le=int(LONGEST_INTERVAL_S))]
