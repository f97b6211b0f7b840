"""POST and GET /v1/runs."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from api_svc.services import Services
from shared.queue.transport import RedisTransport

JSON = {"Content-Type": "application/json"}


async def test_a_run_is_in_the_ledger_and_its_message_in_redis(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await client.post("/v1/runs", json={"job": "ping", "args": {"sleep_s": 0.5}})

    assert answer.status_code == 201
    run = answer.json()
    assert (run["job"], run["state"], run["attempt"], run["existing"]) == ("ping", "pending", 0, False)
    assert run["args"] == {"sleep_s": 0.5}
    transport = RedisTransport(services.redis)
    await services.enqueuer.close()
    [message] = await transport.take("maintenance", 10)
    assert (message.run_id, message.attempt) == (UUID(run["id"]), 1)


async def test_a_run_can_be_read_by_its_id(client: httpx.AsyncClient) -> None:
    run = (await client.post("/v1/runs", json={"job": "ping"})).json()

    answer = await client.get(f"/v1/runs/{run['id']}")

    assert answer.status_code == 200
    assert answer.json() == {name: value for name, value in run.items() if name != "existing"}


async def test_a_run_for_later_waits_without_a_message(client: httpx.AsyncClient, services: Services) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    run = (await client.post("/v1/runs", json={"job": "ping", "run_at": later.isoformat()})).json()

    assert datetime.fromisoformat(run["run_at"]) == later
    await services.enqueuer.close()
    assert await RedisTransport(services.redis).depth("maintenance") == 0


@pytest.mark.rule(36)
async def test_a_key_that_exists_answers_with_its_run(client: httpx.AsyncClient) -> None:
    body = {"job": "ping", "key": "once"}

    first, second = await asyncio.gather(*(client.post("/v1/runs", json=body) for _ in range(2)))

    assert sorted([first.status_code, second.status_code]) == [200, 201]
    assert first.json()["id"] == second.json()["id"]
    assert sorted([first.json()["existing"], second.json()["existing"]]) == [False, True]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "job: is missing"),
        ({"job": "pong"}, "job: there is no 'pong'; it is one of apply_brevo_event, "),
        ({"job": "ping", "args": {"sleep": 1}}, "job ping: unknown argument 'sleep' (it takes: sleep_s)"),
        ({"job": "ping", "args": {"sleep_s": -1}}, "job ping: argument 'sleep_s': input should be greater"),
        ({"job": "ping", "args": []}, "args: input should be a valid dictionary"),
        ({"job": "ping", "run_at": "2030-01-31T08:00:00"}, "run_at: input should have timezone info"),
        ({"job": "ping", "key": ""}, "key: string should have at least 1 character"),
        ({"job": "ping", "kye": "a"}, "kye: extra inputs are not permitted"),
        ({"job": "ping", "key": "a\x00b"}, "body: holds a value that PostgreSQL cannot store"),
        ({"job": "apply_stripe_event", "args": {"event_id": "a\x00"}}, "body: holds a value"),
        ({"job": "apply_stripe_event", "args": {"event_id": "\ud800"}}, "body: holds a value"),
        (["ping"], "body: input should be a valid dictionary"),
    ],
)
async def test_what_cannot_be_enqueued_is_refused_by_name(
    client: httpx.AsyncClient, services: Services, body: object, detail: str
) -> None:
    answer = await client.post("/v1/runs", content=json.dumps(body), headers=JSON)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert await services.database.rows("SELECT id FROM job_runs") == []


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", b"[" * 100_000, b'{"job": "ping", "args": {"sleep_s": NaN}}'],
    ids=["cut", "no text", "nested", "nan"],
)
async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/v1/runs", content=content, headers=JSON)

    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


async def test_a_run_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/runs/{uuid4()}")).status_code == 404
    assert (await client.get("/v1/runs/seven")).json()["detail"].startswith("run_id: input should be a valid")


async def test_a_body_in_another_form_is_told_which_one_to_send(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/runs", data={"job": "ping"})

    assert answer.json() == {"detail": "Content-Type: send application/json"}
