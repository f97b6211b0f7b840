"""Settings name the variable that is wrong in one line, and show no secret."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.core.errors import ConfigError
from shared.core.jobspec import Queue
from shared.settings import (
    ApiSettings,
    CliSettings,
    SchedulerSettings,
    Settings,
    WorkerSettings,
    load,
    require_in_production,
)

DATABASE_URL = "postgresql://user:hunter2@host/database"
#: Enough for every process.
COMPLETE = {
    "DATABASE_URL": DATABASE_URL,
    "REDIS_URL": "redis://:hunter2@host:6379/0",
    "BREVO_API_KEY": "xkeysib-hunter2",
    "BREVO_SENDER_EMAIL": "billing@example.com",
    "BREVO_WEBHOOK_TOKEN": "hunter2",
    "STRIPE_API_KEY": "sk_test_hunter2",
    "STRIPE_WEBHOOK_SECRET": "whsec_hunter2",
    "API_TOKEN": "hunter2,hunter22",
    "SENTRY_DSN": "https://hunter2@example.com/1",
}
KINDS: list[type[Settings]] = [SchedulerSettings, WorkerSettings, ApiSettings]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the complete one, whatever the machine's has."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", [*KINDS, CliSettings])
def test_a_complete_environment_is_read(kind: type[ApiSettings]) -> None:
    assert load(kind).database_url.get_secret_value() == DATABASE_URL


def test_defaults_are_the_documented_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")
    api, worker, scheduler = load(ApiSettings), load(WorkerSettings), load(SchedulerSettings)

    assert api.redis_url.get_secret_value() == "redis://redis:6379/0"
    assert (api.api_host, api.api_port, api.enable_scheduler) == ("127.0.0.1", 8000, True)
    assert (api.environment, api.log_format, api.log_level, api.log_dir) == (
        "development",
        "json",
        "INFO",
        "logs",
    )
    assert (api.leader_ttl_s, api.run_lease_s, api.run_retention_days) == (3, 15, 90)
    assert (worker.worker_queues, worker.worker_max_jobs, worker.worker_grace_s) == (tuple(Queue), 50, 30)
    assert (worker.reminder_stages, worker.brevo_sender_name) == ("-3d,0d,+3d,+7d,+14d", "CueBX")
    assert (scheduler.refunds_every_s, scheduler.reminders_every_s) == (300, 3600)
    assert (scheduler.cleanup_cron, scheduler.reminder_tolerance_s) == ("0 2 * * *", 86400)
    assert (scheduler.metrics_port, worker.metrics_port) == (9100, 9101)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, "DATABASE_URL") for kind in KINDS]
    + [(WorkerSettings, "BREVO_API_KEY"), (WorkerSettings, "BREVO_SENDER_EMAIL")],
)
@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_a_variable_that_is_required_and_not_set_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: type[Settings], name: str, empty: bool
) -> None:
    if empty:
        monkeypatch.setenv(name, "")
    else:
        monkeypatch.delenv(name)

    with pytest.raises(ConfigError, match=f"^{name}: is not set; expected: "):
        load(kind)


MALFORMED = [
    ("DATABASE_URL", "localhost", "is not a URL; it looks like postgresql://"),
    ("DATABASE_URL", "postgresql://h:hunter2/d", "is not a URL"),
    ("DATABASE_URL", "mysql://h/hunter2", "has the scheme 'mysql'"),
    ("REDIS_URL", "hunter2:6379", "is no Redis URL; it looks like redis://host:6379/0"),
    (
        "REDIS_URL",
        "redis://h:hunter2/0",
        "is no URL that redis-py can use (ValueError); it looks like redis://",
    ),
    ("REDIS_URL", "redis://:hunter2@h/x", "has a path that is no number"),
    ("REDIS_URL", "unix://:hunter2@", "has a path that is no socket"),
    ("SENTRY_DSN", "hunter2", "is no DSN; it looks like https://key@host/1"),
    ("STRIPE_API_KEY", "sk_test_hunter2\n", "holds a character that cannot be sent in a header"),
    ("API_TOKEN", "hunter2,hunter é", "holds a character that cannot be sent in a header"),
    ("API_HOST", "a..b", "is no address; it looks like 127.0.0.1"),
    ("METRICS_HOST", "http://h", "is no address; it looks like 127.0.0.1"),
    ("BREVO_SENDER_NAME", "CueBX\r\nBcc: x@example.com", "has a line break"),
    ("ENVIRONMENT", "prod", "input should be 'development' or 'production'"),
    ("LOG_FORMAT", "xml", "input should be 'json' or 'console'"),
    ("LOG_LEVEL", "loud", "input should be 'DEBUG'"),
    ("LEADER_TTL_S", "soon", "input should be a valid number"),
    ("LEADER_TTL_S", "0", "input should be greater than or equal to 0.5"),
    ("RUN_LEASE_S", "0", "input should be greater than or equal to 1"),
    ("RUN_RETENTION_DAYS", "1.5", "input should be a valid integer"),
    ("STRIPE_API_BASE_URL", "stripe", "is no URL; it looks like https://host/path"),
    ("STRIPE_TIMEOUT_S", "0", "input should be greater than 0"),
    ("BREVO_BASE_URL", "ftp://x", "is no URL"),
    ("BREVO_SENDER_EMAIL", "billing", "string should match pattern"),
    ("BREVO_IDEMPOTENCY_HEADER", "Key", "input should be 'idempotencyKey'"),
    ("REFUNDS_EVERY_S", "0", "input should be greater than or equal to 1"),
    ("REFUNDS_EVERY_S", "9" * 12, "input should be less than or equal to 316224000"),
    ("REMINDERS_EVERY_S", "hourly", "input should be a valid integer"),
    ("REMINDER_TOLERANCE_S", "-1", "input should be greater than or equal to 1"),
    ("REMINDER_STAGES", "3 days", "has the stage '3 days'; a stage is a number of days such as -3d"),
    ("WORKER_QUEUES", "refunds,mail", "input should be 'refunds', 'payment_reminders' or 'maintenance'"),
    ("WORKER_MAX_JOBS", "0", "input should be greater than or equal to 1"),
    ("WORKER_GRACE_S", "-1", "input should be greater than or equal to 0"),
    ("METRICS_PORT", "70000", "input should be less than or equal to 65535"),
    ("METRICS_PORT", "on", "input should be a valid integer"),
    ("API_PORT", "off", "input should be a valid integer"),
    ("ENABLE_SCHEDULER", "perhaps", "input should be a valid boolean"),
    ("CUEBX_FAILPOINTS", DATABASE_URL, "'postgresql://***@host/database' is no failpoint"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), MALFORMED)
def test_a_malformed_variable_is_one_line_that_names_it_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(name, value)
    concerned = [kind for kind in KINDS if name.lower() in kind.model_fields]

    for kind in concerned:
        if kind is ApiSettings and name == "BREVO_SENDER_EMAIL":
            continue  # the API sends nothing
        with pytest.raises(ConfigError) as error:
            load(kind)
        line = str(error.value)
        assert line.startswith(f"{name}: {complaint}")
        assert "\n" not in line
        assert "hunter2" not in line
    assert concerned


def test_several_complaints_are_still_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("LOG_LEVEL", "loud")

    with pytest.raises(ConfigError, match=r"^DATABASE_URL: is not set; .*\(and 1 more\)$"):
        load(SchedulerSettings)


@pytest.mark.parametrize("kind", [*KINDS, CliSettings])
def test_secrets_are_masked_in_every_print(kind: type[ApiSettings]) -> None:
    settings = load(kind)

    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "hunter2" not in shown
    assert json.loads(settings.model_dump_json())["database_url"] == "**********"


def test_settings_are_frozen() -> None:
    settings = load(SchedulerSettings)

    with pytest.raises(ValidationError, match="frozen"):
        settings.log_level = "DEBUG"  # type: ignore[misc]  # the point


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("API_TOKEN", "a, b,,", ["a", "b"]),
        ("API_TOKEN", "a", ["a"]),
        ("API_TOKEN", "", []),
        ("API_TOKEN", " , ", []),
    ],
)
def test_several_tokens_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: list[str]
) -> None:
    monkeypatch.setenv(name, value)

    assert [token.get_secret_value() for token in load(ApiSettings).api_token] == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("refunds", (Queue.REFUNDS,)),
        ("maintenance, refunds", (Queue.MAINTENANCE, Queue.REFUNDS)),
        ("all", tuple(Queue)),
        ("", tuple(Queue)),
    ],
)
def test_queues_are_chosen_by_name(
    monkeypatch: pytest.MonkeyPatch, value: str, read: tuple[Queue, ...]
) -> None:
    monkeypatch.setenv("WORKER_QUEUES", value)

    assert load(WorkerSettings).worker_queues == read


@pytest.mark.parametrize(("value", "port"), [("0", 0), ("off", None), ("OFF", None), ("9000", 9000)])
def test_the_port_of_the_metrics_can_be_off(
    monkeypatch: pytest.MonkeyPatch, value: str, port: int | None
) -> None:
    monkeypatch.setenv("METRICS_PORT", value)

    assert load(SchedulerSettings).metrics_port == port


@pytest.mark.parametrize(
    ("kind_of_place", "value", "refused"),
    [
        ("production", None, True),
        ("production", (), True),
        ("production", "x", False),
        ("development", None, False),
    ],
)
def test_only_production_insists_on_what_it_requires(
    monkeypatch: pytest.MonkeyPatch, kind_of_place: str, value: Any, refused: bool
) -> None:
    monkeypatch.setenv("ENVIRONMENT", kind_of_place)
    settings = load(ApiSettings)

    if refused:
        with pytest.raises(ConfigError, match=r"^API_TOKEN: is not set; it is required in production$"):
            require_in_production(settings, API_TOKEN=value)
    else:
        require_in_production(settings, API_TOKEN=value)


EXAMPLE = Path(__file__).parents[2] / ".env.example"
SECRETS = ("API_TOKEN", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "BREVO_API_KEY", "BREVO_WEBHOOK_TOKEN")


@pytest.mark.parametrize("name", SECRETS)
def test_production_refuses_what_the_example_has(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    values = dict(
        line.split("=", 1) for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")
    )
    monkeypatch.setenv(name, values[name])
    load(ApiSettings)
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(ConfigError, match=rf"^{name}: is the value of \.env\.example"):
        load(ApiSettings)
