"""What the API answers while PostgreSQL or Redis is away, and afterwards."""

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api_svc.app import create_app
from api_svc.bootstrap import build
from api_svc.services import Services
from local_stack.postgres import EmbeddedPostgres
from shared.db.migrate import upgrade
from shared.settings import ApiSettings
from tests.integration.api.conftest import client_of
from tests.integration.api.webhooks import HARD_BOUNCE, REFUND_UPDATED, from_brevo, from_stripe
from tests.wait import wait_until_async

REFUND = {"payment_intent_id": "pi_1", "amount": 1, "currency": "eur"}


@pytest.fixture
def own_postgres(private_postgres: Callable[..., EmbeddedPostgres]) -> EmbeddedPostgres:
    server = private_postgres()
    upgrade(server.url)
    return server


@pytest.fixture
async def without_postgres(
    settings: Callable[..., ApiSettings], own_postgres: EmbeddedPostgres
) -> AsyncIterator[Services]:
    """Services whose PostgreSQL was killed after they had used it."""
    services = build(settings(database_url=SecretStr(own_postgres.url)))
    await services.database.ping()
    own_postgres.kill()
    yield services
    await services.close()


@pytest.mark.parametrize(("path", "body"), [("/v1/runs", {"job": "ping"}), ("/v1/refunds", REFUND)])
async def test_without_postgresql_callers_are_told_to_come_back(
    without_postgres: Services, path: str, body: dict[str, Any]
) -> None:
    async with client_of(without_postgres) as client:
        answers = [await client.post(path, json=body) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert answers[0].headers["Retry-After"] == "5"
    assert answers[0].json() == {"detail": "PostgreSQL does not answer: nothing was stored, try again"}


async def test_without_postgresql_each_provider_gets_the_answer_after_which_it_repeats(
    without_postgres: Services, own_postgres: EmbeddedPostgres
) -> None:
    async with client_of(without_postgres) as client:
        assert (await from_stripe(client, REFUND_UPDATED)).status_code == 503
        # Brevo drops an event after any 4xx or 5xx but this.
        assert (await from_brevo(client, HARD_BOUNCE)).status_code == 429

        own_postgres.start()

        assert (await from_stripe(client, REFUND_UPDATED)).json() == {"stored": 1}
        assert (await from_brevo(client, HARD_BOUNCE)).json() == {"stored": 1}


async def test_readiness_follows_postgresql(
    settings: Callable[..., ApiSettings], own_postgres: EmbeddedPostgres
) -> None:
    services = build(settings(database_url=SecretStr(own_postgres.url)))
    app = create_app(services)

    async def ready() -> bool:
        answer = await client.get("/readyz")
        assert answer.status_code == (200 if answer.json()["ready"] else 503)
        assert answer.json()["checks"]["redis"] == "ok" or not answer.json()["ready"]
        return bool(answer.json()["ready"])

    async def unready() -> bool:
        return not await ready()

    async with app.router.lifespan_context(app), client_of(services) as client:
        client._transport = httpx.ASGITransport(app)
        await wait_until_async(ready, what="ready")
        own_postgres.kill()
        await wait_until_async(unready, what="not ready")
        assert (await client.get("/healthz")).status_code == 200
        own_postgres.start()
        await wait_until_async(ready, what="ready again")


async def test_a_schema_that_is_behind_is_told_to_whoever_runs_the_api(
    settings: Callable[..., ApiSettings], empty_database_url: str
) -> None:
    services = build(settings(database_url=SecretStr(empty_database_url)))
    told: list[str] = []
    services.probe.on_behind = lambda: told.append("behind")

    await services.probe.once()
    await services.close()

    assert told == ["behind"]
    assert "run cuebx migrate" in str(services.probe.behind)
    assert "run cuebx migrate" in services.probe.readiness.problems()["postgresql"]


async def timed(request: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return await request, time.monotonic() - began


@pytest.mark.rule(35)
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
@pytest.mark.parametrize(("path", "body"), [("/v1/runs", {"job": "ping"}), ("/v1/refunds", REFUND)])
async def test_without_redis_runs_are_accepted_and_the_answer_does_not_wait(
    settings: Callable[..., ApiSettings], silent: bool, path: str, body: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if not silent:
            listener.close()
        services = build(settings(redis_url=SecretStr(f"redis://127.0.0.1:{port}/0")))
        async with client_of(services) as client:
            await client.get(path + "/00000000-0000-0000-0000-000000000000")
            tries = [await timed(client.post(path, json=body)) for _ in range(3)]
        await services.close()

    assert [answer.status_code for answer, _ in tries] == [201] * 3
    assert min(took for _, took in tries) < 0.4, (
        "the push has 0.2 s; the best of three, on a machine that is busy"
    )
