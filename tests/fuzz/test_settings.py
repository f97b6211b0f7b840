"""Every variable with whatever value: a process that is wired, or one line that names the variable and shows no secret."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_svc.bootstrap import build as build_api
from scheduler_svc.bootstrap import build as build_scheduler
from shared.core.errors import ConfigError
from shared.health import HealthServer, Readiness
from shared.settings import ApiSettings, CliSettings, SchedulerSettings, Settings, WorkerSettings, load
from tests.fuzz import odd
from tests.fuzz.effort import fuzzed
from worker_svc.bootstrap import compose, open_services

SECRET = "hunter2"
BASE = {
    "DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:1/database",
    "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
    "BREVO_API_KEY": f"xkeysib-{SECRET}",
    "BREVO_SENDER_EMAIL": "billing@example.com",
    "STRIPE_API_KEY": f"sk_test_{SECRET}",
    "LOG_DIR": "",
    "METRICS_PORT": "0",
    "API_PORT": "0",
}
KINDS: list[type[Settings]] = [SchedulerSettings, WorkerSettings, ApiSettings, CliSettings]
NAMES = sorted({name.upper() for kind in KINDS for name in kind.model_fields} - {"LOG_DIR"})
#: The variables whose values nobody may read.
SECRETS = {
    name.upper()
    for kind in KINDS
    for name, field in kind.model_fields.items()
    if "Secret" in str(field.annotation)
}

PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["sslmode", "ssl", "sslrootcert", "sslcert", "connect_timeout", "options", "statement_cache_size", "host", "port",
             "prepared_statement_cache_size", "keepalives", "application_name", "timeout", "db", "socket_timeout", "protocol",
             "max_connections", "ssl_cert_reqs", "health_check_interval", "username", "user", "command_timeout", "server_settings"]
        ),
        st.sampled_from(["", "0", "1", "-1", "nan", "disable", "require", "verify-full", "/nowhere", "-c%20a", "9" * 30, SECRET]),
    ),
    max_size=3,
).map(lambda pairs: "?" + "&".join(f"{name}={value}" for name, value in pairs) if pairs else "")  # fmt: skip
HOSTS = st.sampled_from(
    [
        "h", "h:1", "[::1]:1", "[::1", "h:99999", "h:-1", "h:x", "a..b", "x" * 80, "é", "", "h:1,i:2", "%00", ":1",
        "h h", "@",
    ]
)  # fmt: skip
SCHEMES = st.sampled_from(
    ["postgresql", "postgres", "postgresql+asyncpg", "redis", "rediss", "unix", "http", "https", "mysql", ""]
)
URLS = st.builds(
    "{}://{}{}{}{}".format,
    SCHEMES,
    st.sampled_from(["", f"u:{SECRET}@", f":{SECRET}@", f"{SECRET}@", f"u:{SECRET}@@", f"u%40:{SECRET}%zz@"]),
    HOSTS,
    st.sampled_from(["", "/", "/d", "/0", "/x/1", "/99999999999", "/%00", "//", "/1/"]),
    PARAMETERS,
)
NUMBERS = st.sampled_from(
    [
        "0", "1", "-1", "1.5", "1e3", "1e400", "nan", "inf", "٣", "9" * 40, "0x10", "1_000", " 1 ", "off", "true",
        "1,2", "5s",
    ]
)  # fmt: skip
LISTS = st.lists(
    st.sampled_from(["refunds", "all", "", " ", "x", "-3d", "+3d", "0d", "3", "+99999999999d", "a b"]),
    max_size=5,
).map(",".join)
VALUES = (
    URLS
    | NUMBERS
    | LISTS
    | odd.cron_expressions(odd.ENVIRONMENT).map(odd.held)
    | odd.text(odd.ENVIRONMENT, 40).map(odd.held)
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in os.environ:
        monkeypatch.delenv(name)
    return monkeypatch


@fuzzed(200)
@given(name=st.sampled_from(NAMES), value=VALUES)
async def test_a_process_is_wired_or_one_line_names_the_variable(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with environment.context() as scope:
        for each, usual in {**BASE, name: value}.items():
            scope.setenv(each, usual)
        for kind in KINDS:
            try:
                await wire(load(kind))
            except ConfigError as error:
                line = str(error)
                assert line.startswith(f"{name}: ")
                assert "\n" not in line
                assert name not in SECRETS or SECRET not in line
                line.encode()


async def wire(settings: Any) -> None:
    """All that a process does before it connects."""
    readiness = Readiness("database", "redis")
    if isinstance(settings, ApiSettings):
        await build_api(settings).close()
    if isinstance(settings, (ApiSettings, SchedulerSettings)):
        await build_scheduler(settings, readiness).close()
    if isinstance(settings, WorkerSettings):
        async with open_services(settings) as (services, redis):
            compose(settings, services, redis, readiness)
    if isinstance(settings, (SchedulerSettings, WorkerSettings)) and not isinstance(settings, CliSettings):
        health = HealthServer(readiness, 0, settings.metrics_host)
        await health.start()
        await health.stop()
