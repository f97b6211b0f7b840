"""`python -m api_svc` as a process: how it starts, serves, refuses to start, and ends."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import psycopg2
import pytest

from local_stack.postgres import EmbeddedPostgres
from shared.db.migrate import upgrade
from tests.e2e.api_process import ApiProcess
from tests.wait import wait_until

TOKEN = "a-long-random-text"
Start = Callable[..., ApiProcess]


@pytest.fixture
def start(database_url: str, redis_url: str) -> Iterator[Start]:
    """Call it to start the API on a free port; keywords are variables, None takes one away."""
    started: list[ApiProcess] = []

    def start(**changes: str | None) -> ApiProcess:
        variables = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "API_TOKEN": TOKEN,
            "API_PORT": "0",
            "STRIPE_WEBHOOK_SECRET": "whsec_1",
            "BREVO_WEBHOOK_TOKEN": "b",
            **changes,
        }
        started.append(ApiProcess({name: value for name, value in variables.items() if value is not None}))
        return started[-1]

    yield start
    for api in started:
        api.stop()


def post_run(api: ApiProcess, token: str = TOKEN) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"job": "ping", "key": "the-key-in-the-body"}
    return httpx.post(f"{api.url}/v1/runs", json=body, headers=headers, timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_ends_it_cleanly(start: Start, number: signal.Signals) -> None:
    api = start()
    wait_until(api.ready, timeout=60, what="ready")
    assert post_run(api).status_code == 201

    api.process.send_signal(number)

    assert api.ended(timeout=5) == 0
    assert api.event("process_stopped") is not None
    assert "Traceback" not in "\n".join(api.lines)


def test_a_request_under_way_is_answered_before_it_ends(start: Start, database_url: str) -> None:
    api = start()
    wait_until(api.ready, timeout=60, what="ready")
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(post_run(api)))
    with closing(psycopg2.connect(database_url)) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE job_runs")
        client.start()
        wait_until(lambda: _waits_for_a_lock(database_url), what="the request waits")
        api.process.send_signal(signal.SIGTERM)
        wait_until(lambda: api.event("stopping"), what="the signal arrived")
        blocker.rollback()

    client.join(10)
    assert [answer.status_code for answer in answers] == [201]
    assert api.ended(timeout=5) == 0


def _waits_for_a_lock(url: str) -> bool:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        [(waiting,)] = cursor.fetchall()
        return bool(waiting)


def test_neither_tokens_nor_bodies_are_logged(start: Start) -> None:
    api = start(LOG_LEVEL="DEBUG")
    wait_until(api.ready, timeout=60, what="ready")
    post_run(api)
    post_run(api, token="a-wrong-token")
    httpx.post(f"{api.url}/webhooks/stripe", content=b"a-body", headers={"Stripe-Signature": "t=1,v1=a-sig"})
    api.process.terminate()
    api.ended()

    log = "\n".join(api.lines)
    assert [
        word for word in (TOKEN, "a-wrong-token", "the-key-in-the-body", "a-body", "a-sig") if word in log
    ] == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"DATABASE_URL": None}, "api: DATABASE_URL: is not set; expected: PostgreSQL, as postgresql://"),
        ({"API_PORT": "http"}, "api: API_PORT: "),
        ({"ENVIRONMENT": "production", "API_TOKEN": None}, "api: API_TOKEN: is not set; it is required"),
        (
            {"ENVIRONMENT": "production", "STRIPE_WEBHOOK_SECRET": None},
            "api: STRIPE_WEBHOOK_SECRET: is not set",
        ),
        ({"ENVIRONMENT": "production", "BREVO_WEBHOOK_TOKEN": ""}, "api: BREVO_WEBHOOK_TOKEN: is not set"),
        ({"API_HOST": "192.0.2.1"}, "api: API_HOST: cannot listen on 192.0.2.1"),
        ({"ENABLE_SCHEDULER": "true", "CLEANUP_CRON": "nightly"}, "api: CLEANUP_CRON: "),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_that_is_wrong_is_one_line_and_status_2(
    start: Start, changes: dict[str, str | None], line: str
) -> None:
    api = start(**changes)

    assert api.ended(60) == 2
    assert api.lines[-1].startswith(line)
    assert [each for each in api.lines if not each.startswith("{")] == [api.lines[-1]]


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        api = start(API_PORT=str(port))

        assert api.ended() == 2
        assert api.lines[-1] == f"api: API_PORT: {port} is taken; choose another, or 0 for a free one"


def test_a_schema_that_is_behind_ends_it_with_the_command_to_run(
    start: Start, empty_database_url: str
) -> None:
    api = start(DATABASE_URL=empty_database_url)

    assert api.ended() == 2
    assert api.lines[-1].endswith("run cuebx migrate")
    assert "Traceback" not in "\n".join(api.lines)


@pytest.mark.parametrize("migrated", [True, False], ids=["migrated", "schema behind"])
def test_it_comes_up_without_postgresql_and_looks_at_the_schema_when_it_is_back(
    start: Start, private_postgres: Callable[..., EmbeddedPostgres], migrated: bool
) -> None:
    postgres = private_postgres()
    if migrated:
        upgrade(postgres.url)
    postgres.kill()
    api = start(DATABASE_URL=postgres.url)
    assert httpx.get(f"{api.url}/healthz").status_code == 200
    assert httpx.get(f"{api.url}/readyz").status_code == 503
    assert post_run(api).status_code == 503

    postgres.start()

    if migrated:
        wait_until(api.ready, timeout=60, what="ready")
        assert post_run(api).status_code == 201
    else:
        assert api.ended() == 2
        assert api.lines[-1].endswith("run cuebx migrate")


@pytest.mark.parametrize("path", ["/webhooks/stripe", "/webhooks/brevo", "/v1/runs"])
def test_a_caller_that_leaves_in_the_middle_of_its_body_is_no_failure(start: Start, path: str) -> None:
    api = start()
    port = httpx.URL(api.url).port
    assert port is not None
    headers = f"Host: api\r\nAuthorization: Bearer {TOKEN if path == '/v1/runs' else 'b'}\r\nContent-Length: 100\r\n"
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(f"POST {path} HTTP/1.1\r\n{headers}Content-Type: application/json\r\n\r\n{{".encode())
    wait_until(api.ready, timeout=60, what="ready")
    assert httpx.get(f"{api.url}/healthz").status_code == 200

    api.process.terminate()

    assert api.ended(timeout=5) == 0
    assert not [line for line in api.lines if "Traceback" in line or '"level": "error"' in line], api.lines


def test_with_the_scheduler_it_stands_for_leader_and_hands_over_when_it_ends(
    start: Start, database_url: str
) -> None:
    first = start(ENABLE_SCHEDULER="true")
    wait_until(lambda: _leaders(database_url) == 1, timeout=60, what="the first leads")
    second = start(ENABLE_SCHEDULER="true")
    wait_until(second.ready, timeout=60, what="the second serves")
    assert _leaders(database_url) == 1

    first.process.terminate()

    assert first.ended(timeout=5) == 0
    wait_until(lambda: _leaders(database_url) == 2, timeout=5, what="the second leads")
    assert post_run(second).status_code == 201
    second.process.terminate()
    assert second.ended(timeout=5) == 0
    assert "Traceback" not in "\n".join(first.lines + second.lines)


def _leaders(url: str) -> int:
    """How many terms there have been."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM leader_terms")
        [(terms,)] = cursor.fetchall()
        return int(terms)
