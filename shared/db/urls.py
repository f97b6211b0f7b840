"""One database URL, in any of three spellings, turned into what each driver understands."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {"postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: libpq's parameters that asyncpg takes, if at all, as server settings.
_CERTIFICATES: tuple[str, ...] = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_SERVER_SETTINGS: tuple[str, ...] = ("application_name", "options")
#: libpq's alone: the asynchronous side has settings of its own, or none.
_LIBPQS = ("keepalives", "tcp_user_timeout", "target_session", "gssenc", "channel_binding")
_CACHES = ("prepared_statement_cache_size", "statement_cache_size")
#: Both take these from the query: a directory of sockets can only be named there.
_BOTHS = ("host", "port", "user", "password", "passfile")
_FORM = "it looks like postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class DriverUrl:
    """A SQLAlchemy URL and the driver's connect arguments that go with it."""

    url: URL
    connect_args: dict[str, Any]


def parse_database_url(raw: str) -> URL:
    """The URL with the plain `postgresql` scheme. Raises ValueError with the fix."""
    try:
        url = make_url(raw)
    except (ArgumentError, ValueError):  # the latter: a port that is no number
        raise ValueError(f"is not a URL; {_FORM}") from None
    if url.drivername not in _DRIVERS:
        raise ValueError(
            f"has the scheme {url.drivername!r}; use postgresql://, postgresql+asyncpg:// or postgresql+psycopg2://"
        )
    if not url.database:
        raise ValueError(f"names no database; {_FORM}")
    if not 0 < (5432 if url.port is None else url.port) < 65536:
        raise ValueError(f"has the port {url.port}; a port is a number from 1 to 65535")
    hosts = url.query.get("host", "")
    if not isinstance(hosts, str) or "," in hosts or "," in (url.host or ""):
        # One driver would try each of them, the other the last: not always the same database.
        raise ValueError(f"names several hosts; {_FORM}")
    url = url.set(drivername="postgresql", query={name: _last(url.query[name]) for name in url.query})
    _check_text(url)
    if "port" in url.query and not 0 < _number(url.query, "port") < 65536:
        raise ValueError("has a port that is no number from 1 to 65535")
    mode = _ssl_mode(url)
    if mode is not None and mode not in _SSL_MODES:
        raise ValueError(f"has sslmode={mode!r}; it is one of {', '.join(_SSL_MODES)}")
    return url


def _check_text(url: URL) -> None:
    """What either driver, or the resolver, would raise UnicodeError or worse for."""
    query = [*url.query, *map(_last, url.query.values())]
    for part in (url.host, url.database, url.username, url.password, *query):
        if part is not None and re.search("[\x00\ud800-\udfff]", part):
            raise ValueError(f"has a character that is no text; {_FORM}")
    try:
        (url.host or "").encode("idna")
    except UnicodeError:
        raise ValueError(f"names a host that is none; {_FORM}") from None


def for_psycopg2(raw: str) -> DriverUrl:
    """For APScheduler's stores, the firing path and migrations. asyncpg's `ssl` becomes `sslmode`."""
    url = parse_database_url(raw)
    query = dict(url.query)
    if "ssl" in query:
        query["sslmode"] = query.pop("ssl")
    for name in _CACHES:
        query.pop(name, None)
    return DriverUrl(url.set(drivername="postgresql+psycopg2", query=query), {})


def may_prepare(raw: str) -> bool:
    """Whether a session may keep prepared statements: not with a cache of none, as behind a pooler of transactions."""
    query = parse_database_url(raw).query
    return all(_last(query.get(name, "1")).strip("0") for name in _CACHES)


def for_asyncpg(raw: str) -> DriverUrl:
    """For everything asynchronous. libpq's parameters become asyncpg's arguments, certificate files a TLS context.

    Raises ValueError, files that cannot be read included.
    """
    url = parse_database_url(raw)
    query = {name: _last(value) for name, value in url.query.items()}
    args: dict[str, Any] = {}
    mode = _ssl_mode(url)
    files = {name: query.pop(name) for name in _CERTIFICATES if name in query}
    query.pop("sslmode", None)
    query.pop("ssl", None)
    if mode is not None:
        args["ssl"] = _ssl_argument(mode, files)
    settings = {name: query.pop(name) for name in _SERVER_SETTINGS if name in query}
    options = settings.pop("options", None)
    if options is not None:
        settings.update(_parse_options(options))
    if settings:
        args["server_settings"] = settings
    if "connect_timeout" in query:
        # 0 is no limit in libpq, and no time at all in asyncpg: the caller's own limit stays.
        if seconds := _number(query, "connect_timeout"):
            args["timeout"] = float(seconds)
        query.pop("connect_timeout")
    if "statement_cache_size" in query:
        # SQLAlchemy passes this one on as the text that it is.
        args["statement_cache_size"] = _number(query, "statement_cache_size")
        query.pop("statement_cache_size")
    if "prepared_statement_cache_size" in query and not _number(query, "prepared_statement_cache_size"):
        args["statement_cache_size"] = 0  # SQLAlchemy's cache is not the only one
    for name in [name for name in query if name.startswith(_LIBPQS)]:
        query.pop(name)
    if unknown := sorted(query.keys() - {"prepared_statement_cache_size", *_BOTHS}):
        raise ValueError(f"has the parameter {unknown[0][:50]!r}, which not both drivers understand")
    return DriverUrl(url.set(drivername="postgresql+asyncpg", query=query), args)


def _ssl_mode(url: URL) -> str | None:
    value = url.query.get("sslmode", url.query.get("ssl"))
    return value if value is None else _last(value)


def _last(value: str | tuple[str, ...]) -> str:
    """Of a parameter that is given several times, the last one counts."""
    return value if isinstance(value, str) else value[-1]


def _ssl_argument(mode: str, files: Mapping[str, str]) -> Any:
    if mode == "disable":
        return False
    if not files:
        return mode
    root = files.get("sslrootcert")
    try:
        context = ssl.create_default_context(cafile=None if root == "system" else root)
        context.check_hostname = mode == "verify-full"
        # As libpq has it: a CA that is named is checked against in every mode.
        if root is None and not mode.startswith("verify"):
            context.verify_mode = ssl.CERT_NONE
        if "sslcert" in files:
            context.load_cert_chain(files["sslcert"], files.get("sslkey"))
    except OSError as error:  # SSLError is one
        named = ", ".join(f"{name}={path}" for name, path in files.items())
        raise ValueError(
            f"names a certificate file that cannot be used: {named} ({error.strerror})"
        ) from None
    return context


def _number(query: Mapping[str, Any], name: str) -> int:
    value = query[name]
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError(f"has a {name} that is no whole number")
    return int(value)


def _parse_options(options: str) -> dict[str, str]:
    """libpq's `-c name=value --name=value`; a space in a value has a backslash before it. PostgreSQL does not mind the case
    of a name, and the last of two counts."""
    found = re.findall(r"(?:^|(?<=\s))(?:-c\s*|--)([^\s=]+)=((?:\\.|[^\s\\])*)", options)
    return {name.replace("-", "_").lower(): re.sub(r"\\(.)", r"\1", value) for name, value in found}
