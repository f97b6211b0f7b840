"""Thousands of odd things are told to nobody: a test that is about what is logged listens for itself. And the API, in this
process, on real servers."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import structlog
from pydantic import SecretStr

from api_svc.app import create_app
from api_svc.bootstrap import build
from api_svc.services import Services
from shared.settings import ApiSettings

TOKEN = "secret-of-the-api"
STRIPE_SECRET = "whsec_fuzz"
BREVO_TOKEN = "brevo-fuzz"


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    def drop(*_: object) -> structlog.typing.EventDict:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def services(database_url: str, redis_url: str) -> AsyncIterator[Services]:
    settings = ApiSettings(
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        api_token=TOKEN,
        stripe_webhook_secret=SecretStr(STRIPE_SECRET),
        brevo_webhook_token=SecretStr(BREVO_TOKEN),
        enable_scheduler=False,
    )
    services = build(settings)
    yield services
    await services.close()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """What the application raises reaches the test."""
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client
