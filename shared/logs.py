"""Structured logs: one JSON object a line (or a readable line on a console), a stable event name, ids to join on.

Secrets and addresses are masked in every value, also in what goes to Sentry. With LOG_DIR, the same lines also go to
`<process>.log` there.
"""

import json
import logging
import logging.handlers
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partialmethod
from pathlib import Path
from typing import Any

import structlog

from shared.core.decide import error_text
from shared.core.mask import mask
from shared.settings import Settings

MAX_FILE_BYTES = 20_000_000
KEPT_FILES = 5


def configure(settings: Settings, process: str) -> None:
    """Sets up logging for this process. `process` is its name, such as `scheduler` or `worker`."""
    shared_processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        _mask_values,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_time,
    ]
    renderer: structlog.typing.Processor = (
        _as_json
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = _Formatter(renderer, shared_processors)
    # Looked up for every record, and on no line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [_with(formatter, logging.StreamHandler(sys.stderr))]
    if settings.log_dir:
        root.handlers += _file_handlers(settings, process, formatter)
    root.setLevel(settings.log_level)
    # What a library says in passing is not news: our own events say it with ids.
    for name in ("apscheduler", "arq", "httpx", "httpcore", "uvicorn.error", "stripe", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            *shared_processors,
            _as_argument,
        ],
        logger_factory=_EventLogger,
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    if settings.sentry_dsn is not None:
        _start_sentry(settings, process)


#: What every record has.
_BLANK = dict(vars(logging.LogRecord("", 0, "", 0, None, None, None)))


class _Event(logging.LogRecord):
    """One of our own events."""

    def __init__(self, logger: str, level: int, event: dict[str, Any]) -> None:
        # Not the standard one: it looks for what no line shows, and takes five times as long.
        self.__dict__.update(_BLANK)
        self.name, self.levelno, self.levelname = logger, level, logging.getLevelName(level)
        self.msg = self.event = event
        self.created = time.time()


class _EventLogger:
    """What structlog writes to. The standard logger would look for the caller's file and line, which no line shows: that
    alone takes longer than all the rest, and there is a line for every run."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._logger = logging.getLogger(name)

    def _log(self, level: int, event: dict[str, Any]) -> None:
        self._logger.handle(_Event(self.name, level, event))

    debug = partialmethod(_log, logging.DEBUG)
    info = partialmethod(_log, logging.INFO)
    warning = partialmethod(_log, logging.WARNING)
    error = exception = partialmethod(_log, logging.ERROR)
    critical = partialmethod(_log, logging.CRITICAL)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Our events have been through the processors; those of libraries go through them here."""

    def __init__(
        self, renderer: structlog.typing.Processor, processors: list[structlog.typing.Processor]
    ) -> None:
        super().__init__(foreign_pre_chain=processors, processors=[self.remove_processors_meta, renderer])
        self._render = renderer

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, _Event):
            return str(self._render(None, "", record.event.copy()))
        return super().format(record)


def _as_argument(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[Any], dict[str, Any]]:
    return (event,), {}


_encode = json.JSONEncoder(default=str).encode


def _as_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event)


def _add_time(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return event


def _file_handlers(settings: Settings, process: str, formatter: logging.Formatter) -> list[logging.Handler]:
    try:
        Path(settings.log_dir).mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            Path(settings.log_dir) / f"{process}.log", maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES
        )
    except OSError as error:
        # A read-only container must still run: standard error has every line.
        logging.getLogger(__name__).warning("log_dir_unusable: %s", error)
        return []
    return [_with(formatter, handler)]


def _with(formatter: logging.Formatter, handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(formatter)
    return handler


def _mask_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if type(value) is str:
            event[key] = mask(value)
        elif value is not None and key != "exc_info" and not key.startswith("_"):
            event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return mask(value)
        case BaseException():
            return mask(error_text(value))
        case Mapping():
            return {str(key): _masked(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(each) for each in value]
        case _:
            return mask(str(value))


def _start_sentry(settings: Settings, process: str) -> None:
    import sentry_sdk  # noqa: PLC0415  # an optional extra

    assert settings.sentry_dsn is not None

    def masked(event: Any, _: Mapping[str, Any]) -> Any:
        return _masked(event)

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        environment=settings.environment,
        send_default_pii=False,
        # Passwords and addresses are in there, and look like any other text.
        include_local_variables=False,
        before_send=masked,
        before_breadcrumb=masked,
    )
    sentry_sdk.set_tag("process", process)
