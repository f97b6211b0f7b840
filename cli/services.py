"""What commands on the database and Redis share: settings, connections, and the name that goes into the audit log."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from redis.asyncio import Redis

from cli.stack_env import adopt_running_stack
from shared import logs
from shared.core.errors import ConfigError
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from shared.settings import CliSettings, load

T = TypeVar("T")
STATEMENT_BOUND_S = 10.0


@dataclass(frozen=True, slots=True)
class Services:
    """Connections are made when first used: a command that needs no Redis works without it."""

    settings: CliSettings
    database: Database
    redis: Redis
    transport: RedisTransport
    enqueuer: Enqueuer
    actor: str


def run(command: Callable[[Services], Awaitable[T]], *, check_schema: bool = True) -> T:
    """Runs a command's coroutine function with its services. Raises ConfigError where settings or schema do not fit."""
    return asyncio.run(_run(command, check_schema))


async def _run(command: Callable[[Services], Awaitable[T]], check_schema: bool) -> T:
    async with open_services() as services:
        if check_schema:
            await services.database.check_schema()
        return await command(services)


@asynccontextmanager
async def open_services() -> AsyncIterator[Services]:
    settings = read_settings()
    database = Database(
        settings.database_url.get_secret_value(),
        application="cuebx-cli",
        bound_s=STATEMENT_BOUND_S,
        pool_size=2,
    )
    redis = connect(settings.redis_url.get_secret_value(), client_name="cuebx-cli", max_connections=5)
    transport = RedisTransport(redis)
    enqueuer = Enqueuer(database, transport)
    try:
        yield Services(settings, database, redis, transport, enqueuer, operator())
    finally:
        await enqueuer.close()
        await redis.aclose()
        await database.close()


def read_settings() -> CliSettings:
    """The settings, or those of the stack that runs in this directory. Logs go to standard error, from warnings on."""
    adopted = adopt_running_stack()
    try:
        settings = load(CliSettings)
    except ConfigError as error:
        if adopted or os.environ.get("DATABASE_URL"):
            raise
        raise ConfigError(f"{error}; or start cuebx up in this directory") from None
    quiet = {"log_dir": "", "log_format": "console", "sentry_dsn": None}
    if settings.log_level != "DEBUG":
        quiet["log_level"] = "WARNING"
    logs.configure(settings.model_copy(update=quiet), "cli")
    return settings


def operator() -> str:
    """Who decides, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli"
