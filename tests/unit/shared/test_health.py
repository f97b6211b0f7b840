"""Readiness, and the small HTTP server of processes without an API."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError

from shared.health import HealthServer, Readiness, describe
from tests.wait import wait_until_async


@asynccontextmanager
async def serving(readiness: Readiness, port: int | None = 0) -> AsyncIterator[HealthServer]:
    server = HealthServer(readiness, port)
    await server.start()
    running = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        await server.stop()
        running.cancel()
        await asyncio.wait({running})


async def _get(server: HealthServer, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{server.port}{path}")


def test_nothing_is_ready_before_it_said_so() -> None:
    readiness = Readiness("database", "redis")
    assert readiness.problems() == {"database": "not started", "redis": "not started"}
    readiness.ok("database")
    assert readiness.problems() == {"redis": "not started"}


def test_what_fails_is_named_with_its_reason_until_it_is_back() -> None:
    readiness = Readiness("redis")
    readiness.ok("redis")
    readiness.failed("redis", "ConnectionError")
    assert readiness.body() == {"ready": False, "checks": {"redis": "ConnectionError"}}
    readiness.ok("redis")
    assert readiness.body() == {"ready": True, "checks": {"redis": "ok"}}


def test_a_reason_is_logged_once_and_a_first_failure_too() -> None:
    with structlog.testing.capture_logs() as logs:
        readiness = Readiness("redis")
        for why in ("refused", "refused", "refused", "timed out"):
            readiness.failed("redis", why)
        readiness.ok("redis")
        readiness.ok("redis")
    assert [(line["event"], line.get("why")) for line in logs] == [
        ("not_ready", "refused"),
        ("not_ready", "timed out"),
        ("ready_again", None),
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "TimeoutError"),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
        (
            DBAPIError("SELECT 1", {}, Exception("unsupported startup parameter: jit\nmore")),
            "DBAPIError: unsupported startup parameter: jit",
        ),
    ],
)
def test_an_error_is_one_line_in_the_drivers_own_words(error: BaseException, said: str) -> None:
    assert describe(error) == said


async def test_readyz_tells_what_is_missing_and_healthz_only_that_the_process_lives() -> None:
    readiness = Readiness("database")
    async with serving(readiness) as server:
        missing = await _get(server, "/readyz")
        assert (missing.status_code, missing.json()["checks"]) == (503, {"database": "not started"})
        assert (await _get(server, "/healthz")).status_code == 200
        readiness.ok("database")
        assert (await _get(server, "/readyz")).status_code == 200


async def test_metrics_are_in_prometheus_own_format() -> None:
    Counter("cuebx_test_of_health_total", "Counts.").inc()
    async with serving(Readiness()) as server:
        answer = await _get(server, "/metrics")
    assert "cuebx_test_of_health_total 1.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


async def test_answers_carry_the_date_which_the_server_renews_itself() -> None:
    async with serving(Readiness()) as server:
        first = (await _get(server, "/healthz")).headers["date"]

        async def renewed() -> bool:
            return (await _get(server, "/healthz")).headers["date"] != first

        await wait_until_async(renewed)


async def test_a_taken_port_is_a_warning_and_not_the_end() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with structlog.testing.capture_logs() as logs:
            async with serving(Readiness(), port):
                await asyncio.sleep(0)
    assert [(line["event"], line["port"]) for line in logs] == [("metrics_port_taken", port)]


async def test_who_reads_in_the_log_that_a_port_is_open_can_connect_at_once() -> None:
    server = HealthServer(Readiness(), 0)
    with structlog.testing.capture_logs() as logs:
        await server.start()
    assert [line["event"] for line in logs] == ["metrics_listening"]
    with socket.create_connection(("127.0.0.1", logs[0]["port"]), timeout=5):
        await server.stop()


async def test_no_port_means_no_server() -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(Readiness(), None) as server:
            assert server.port is None
    assert logs == []


async def test_a_stopped_server_gives_its_port_back_at_once() -> None:
    async with serving(Readiness()) as server:
        port = server.port
        await _get(server, "/healthz")
    assert port is not None

    async def free() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        return False

    await wait_until_async(free)
