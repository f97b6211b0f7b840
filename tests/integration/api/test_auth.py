"""Who may call what, and what is read of those who may not."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from api_svc.bootstrap import build
from api_svc.services import Services
from shared.settings import ApiSettings
from tests.integration.api.conftest import client_of

PING = {"job": "ping"}


@pytest.mark.parametrize("token", ["token-one", "token-two"])
async def test_any_of_the_tokens_opens_the_door(services: Services, token: str) -> None:
    async with client_of(services, token) as client:
        assert (await client.post("/v1/runs", json=PING)).status_code == 201


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer token",
        "Bearer token-one,token-two",
        "Basic token-one",
        "token-one",
    ],
)
@pytest.mark.parametrize("path", ["/v1/runs", "/v1/refunds", "/v1/unheard-of", "/v1", "/%761/runs"])
async def test_nothing_below_v1_answers_without_a_token(
    services: Services, header: str | None, path: str
) -> None:
    async with client_of(services, None) as client:
        answer = await client.post(
            path, content=b"{", headers={} if header is None else {"Authorization": header}
        )

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["detail"].startswith("Authorization: is ")


async def test_without_api_token_the_answer_says_what_to_set(settings: Callable[..., ApiSettings]) -> None:
    services = build(settings(api_token=""))
    async with client_of(services, "") as client:
        answer = await client.post("/v1/runs", json=PING)
    await services.close()

    assert answer.status_code == 401
    assert answer.json()["detail"].startswith("API_TOKEN: is not set")


async def test_health_needs_no_token(services: Services) -> None:
    async with client_of(services, None) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200


def test_tokens_are_in_no_print_of_the_services(services: Services) -> None:
    assert "token-one" not in repr(services)


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient, services: Services) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    answer = await client.post("/v1/runs", content=endless())

    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("body: is larger than")
