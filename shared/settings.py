"""Settings of each process, from the environment: read once, frozen, secrets masked in every print."""

import os
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.core.errors import ConfigError
from shared.core.jobspec import Queue
from shared.core.mask import mask
from shared.core.stages import parse_stages
from shared.failpoints import Failpoint, parse_failpoints
from shared.setting_types import (
    DatabaseUrl,
    HeaderSecret,
    Host,
    HttpUrl,
    Line,
    RedisUrl,
    Seconds,
    SentryDsn,
)


def _queues(value: Any) -> Any:
    if isinstance(value, str):
        names = [name.strip() for name in value.split(",") if name.strip()]
        return tuple(Queue) if names in ([], ["all"]) else tuple(names)
    return value


def _tokens(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(SecretStr(token.strip()) for token in value.split(",") if token.strip())
    return value


def _port(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "off" else value


def _failpoints(value: Any) -> Any:
    return parse_failpoints(value) if isinstance(value, str) else value


def _stages(value: str) -> str:
    parse_stages(value)
    return value


Port = Annotated[int, Field(ge=0, le=65535)]
OptionalPort = Annotated[Port | None, BeforeValidator(_port)]


class Settings(BaseSettings):
    """What every process reads."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True
    )

    database_url: DatabaseUrl = Field(
        description="PostgreSQL, as postgresql://user:password@host:5432/database"
    )
    redis_url: RedisUrl = Field(
        default=SecretStr("redis://redis:6379/0"), description="Redis, as redis://host:6379/0"
    )
    environment: Literal["development", "production"] = "development"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_dir: str = "logs"
    sentry_dsn: SentryDsn | None = None
    leader_ttl_s: float = Field(default=3.0, ge=0.5, le=300, description="seconds, such as 3")
    run_lease_s: float = Field(default=15.0, ge=1, le=3600, description="seconds, such as 15")
    run_retention_days: int = Field(default=90, ge=1, le=36500, description="days, such as 90")
    cuebx_failpoints: Annotated[tuple[Failpoint, ...], NoDecode, BeforeValidator(_failpoints)] = ()

    @property
    def in_production(self) -> bool:
        return self.environment == "production"


class StripeSettings(BaseSettings):
    """Where and how Stripe is reached."""

    model_config = Settings.model_config

    stripe_api_key: HeaderSecret | None = Field(default=None, description="sk_live_… or sk_test_…")
    stripe_api_base_url: HttpUrl = "https://api.stripe.com"
    stripe_webhook_secret: SecretStr | None = Field(default=None, description="whsec_…")
    stripe_rate_per_s: int = Field(
        default=25, ge=1, le=10000, description="requests a second to one endpoint, of all workers together"
    )
    stripe_total_rate_per_s: int = Field(
        default=100, ge=1, le=10000, description="requests a second to all endpoints, of all workers together"
    )
    stripe_timeout_s: float = Field(default=20.0, gt=0, le=80, description="seconds, such as 20")


class BrevoSettings(BaseSettings):
    """Where and how Brevo is reached, and who sends."""

    model_config = Settings.model_config

    brevo_api_key: HeaderSecret | None = Field(default=None, description="xkeysib-…")
    brevo_base_url: HttpUrl = "https://api.brevo.com/v3"
    brevo_sender_email: str | None = Field(default=None, description="billing@example.com")
    brevo_sender_name: Line = "CueBX"
    brevo_webhook_token: HeaderSecret | None = Field(default=None, description="a long random text")
    brevo_idempotency_header: Literal["idempotencyKey", "Idempotency-Key", "IdempotencyKey"] = (
        "idempotencyKey"
    )
    brevo_timeout_s: float = Field(default=30.0, gt=0, le=40, description="seconds, such as 30")


class SchedulerSettings(Settings):
    refunds_every_s: Seconds = Field(default=300, description="seconds, such as 300")
    reminders_every_s: Seconds = Field(default=3600, description="seconds, such as 3600")
    cleanup_cron: str = Field(default="0 2 * * *", description="crontab(5), such as '0 2 * * *'")
    reminder_tolerance_s: Seconds = Field(default=86400, description="seconds, such as 86400")
    metrics_port: OptionalPort = Field(default=9100, description="a port, 0 for a free one, or off")
    metrics_host: Host = "127.0.0.1"


class WorkerSettings(BrevoSettings, StripeSettings, Settings):
    stripe_api_key: HeaderSecret | None = Field(default=None, description="sk_live_… or sk_test_…")
    brevo_api_key: HeaderSecret = Field(description="xkeysib-…")
    brevo_sender_email: str = Field(description="billing@example.com", pattern=r"^[^@\s]+@[^@\s]+$")
    worker_queues: Annotated[tuple[Queue, ...], NoDecode, BeforeValidator(_queues)] = Field(
        default=tuple(Queue), description="names separated by commas, such as refunds,maintenance, or all"
    )
    worker_max_jobs: int = Field(default=50, ge=1, le=10000, description="runs at once per queue, such as 50")
    worker_grace_s: float = Field(default=30.0, ge=0, le=3600, description="seconds, such as 30")
    reminder_stages: Annotated[str, AfterValidator(_stages)] = Field(
        default="-3d,0d,+3d,+7d,+14d", description="days around the due date, such as -3d,0d,+3d"
    )
    metrics_port: OptionalPort = Field(default=9101, description="a port, 0 for a free one, or off")
    metrics_host: Host = "127.0.0.1"


class ApiSettings(BrevoSettings, StripeSettings, SchedulerSettings):
    api_host: Host = "127.0.0.1"
    api_port: Port = 8000
    api_token: Annotated[tuple[HeaderSecret, ...], NoDecode, BeforeValidator(_tokens)] = Field(
        default=(), description="a long random text; several are separated by commas"
    )
    enable_scheduler: bool = Field(default=True, description="true or false")


class CliSettings(BrevoSettings, StripeSettings, SchedulerSettings):
    """What the command line reads; LOG_DIR and metrics do not apply to it."""


T = TypeVar("T", bound=BaseSettings)

#: What `.env.example` has for a first try, and everybody can read.
EXAMPLE_SECRETS = frozenset(
    {"sk_test_sandbox", "whsec_sandbox", "xkeysib-sandbox", "brevo-webhook-sandbox", "development-token"}
)


def load(kind: type[T]) -> T:
    """The settings of a process. Raises ConfigError: one line that names the variable and what it should look like."""
    # An empty variable means its default, but for this one: empty, it means no files.
    meant: dict[str, Any] = {"log_dir": ""} if os.environ.get("LOG_DIR") == "" else {}
    try:
        settings = kind(**meant)
    except ValidationError as error:
        raise ConfigError(_one_line(error, kind)) from None
    if isinstance(settings, Settings) and settings.in_production:
        _refuse_example_secrets(settings)
        if settings.cuebx_failpoints:
            raise ConfigError("CUEBX_FAILPOINTS: is set; it is for tests, and refused in production")
    return settings


def _refuse_example_secrets(settings: BaseSettings) -> None:
    for name, value in settings:
        secrets = value if isinstance(value, tuple) else (value,)
        if any(
            isinstance(each, SecretStr) and each.get_secret_value() in EXAMPLE_SECRETS for each in secrets
        ):
            raise ConfigError(
                f"{name.upper()}: is the value of .env.example; production needs one of its own"
            )


def require_in_production(settings: Settings, **variables: object) -> None:
    """Refuses to start in production without these; `variables` maps a variable's name to its value."""
    if settings.in_production:
        for name, value in variables.items():
            if not value:
                raise ConfigError(f"{name}: is not set; it is required in production")


def _one_line(error: ValidationError, kind: type[BaseSettings]) -> str:
    lines = [
        _complaint(str(each["loc"][0]), each["type"], each["msg"], kind)
        for each in error.errors(include_input=False)
    ]
    others = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return lines[0] + others


def _complaint(field: str, kind_of_error: str, message: str, kind: type[BaseSettings]) -> str:
    info = kind.model_fields.get(field)
    like = f"; expected: {info.description}" if info is not None and info.description else ""
    if kind_of_error == "missing":
        return f"{field.upper()}: is not set{like}"
    message = message.removeprefix("Value error, ")
    # Some quote what they were given: it may be another variable's value.
    return f"{field.upper()}: {mask(message[:1].lower() + message[1:])}{like}"
