"""The API in this process, on a real PostgreSQL and Valkey, called as a client would."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api_svc.app import create_app
from api_svc.bootstrap import build
from api_svc.services import Services
from shared.settings import ApiSettings

TOKEN = "token-one"
STRIPE_SECRET = "whsec_test"
BREVO_TOKEN = "brevo-token"


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Callable[..., ApiSettings]:
    """Call it for the API's settings, with what the keywords change."""

    def make(**changes: Any) -> ApiSettings:
        values: dict[str, Any] = {
            "database_url": SecretStr(database_url),
            "redis_url": SecretStr(redis_url),
            "api_token": f"{TOKEN},token-two",
            "stripe_webhook_secret": SecretStr(STRIPE_SECRET),
            "brevo_webhook_token": SecretStr(BREVO_TOKEN),
            "enable_scheduler": False,
        }
        return ApiSettings(**{**values, **changes})

    return make


@pytest.fixture
async def services(settings: Callable[..., ApiSettings]) -> AsyncIterator[Services]:
    services = build(settings())
    yield services
    await services.close()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """Authorized for `/v1`."""
    async with client_of(services) as client:
        yield client


def client_of(services: Services, token: str | None = TOKEN) -> httpx.AsyncClient:
    """A client of an application with these services; its lifespan does not run."""
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)
