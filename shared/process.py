"""How every process begins and ends."""

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from shared import failpoints, logs
from shared.core.errors import ConfigError
from shared.heap import keep_trimmed
from shared.lifecycle import exit_within
from shared.loop import watched_loop
from shared.settings import Settings, load

S = TypeVar("S", bound=Settings)
EX_CONFIG = 2
#: For what is left when everything was closed: Python itself waits for every thread, for ever.
LEAVE_S = 2.0


def process_name() -> str:
    """Unique among live processes, and readable: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_process(name: str, kind: type[S], main: Callable[[S], Awaitable[None]]) -> None:
    """Reads settings, sets up logs, runs `main`. A configuration error is one line on standard error, status 2;
    any other is in the log, status 1."""
    try:
        settings = load(kind)
        logs.configure(settings, name)
        failpoints.arm(settings.cuebx_failpoints)
        # What was imported stays. Looked through with the rest, it stops all threads for a tenth of a second at a time.
        gc.freeze()
        gc.enable()
        with asyncio.Runner(loop_factory=watched_loop) as runner:
            runner.run(_main(name, settings, main))
    except ConfigError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201  # for whoever started it, log format or not
        raise SystemExit(EX_CONFIG) from None
    except Exception:
        # Python itself would print it with the addresses and passwords in it.
        structlog.get_logger(name).exception("process_failed")
        raise SystemExit(1) from None
    finally:
        # The interpreter's last collections would look through all modules: a third of a second for nothing.
        gc.freeze()


async def _main(name: str, settings: S, main: Callable[[S], Awaitable[None]]) -> None:
    log = structlog.get_logger(name)
    log.info("process_started", name=process_name())
    trimming = asyncio.create_task(keep_trimmed(), name="heap")
    try:
        await main(settings)
        log.info("process_stopped", name=process_name())
    except BaseException:
        exit_within(LEAVE_S, status=1)  # the error itself is told by then, and decides the status
        raise
    finally:
        trimming.cancel()
    exit_within(LEAVE_S)
