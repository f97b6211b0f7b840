"""TLS to Redis and PostgreSQL, checked against a CA of the test's own, through every driver in use.

The embedded servers are built without TLS: `Front` speaks it for them.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import trustme

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from scheduler_svc.leader_lock import LeaderLock
from shared.db.engine import Database, sync_engine
from shared.queue.connection import connect
from tests.security.system import Api, system
from tests.security.tls_front import SSL_REQUEST, Front

HOST = "localhost"
CANARY = "canary-password"


@dataclass(frozen=True)
class Authority:
    """A CA's certificate as a file, and what a server uses that it vouches for as `localhost`."""

    file: Path
    server: ssl.SSLContext


def authority(directory: Path, name: str) -> Authority:
    ca = trustme.CA()
    file = directory / f"{name}.pem"
    ca.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST).configure_cert(context)
    return Authority(file, context)


@dataclass(frozen=True)
class Secured:
    """Two servers behind TLS, and how they are reached."""

    ours: Authority
    postgres: Front
    redis: Front
    database: str

    def postgres_url(self, ca: Authority | None = None, host: str = HOST, mode: str = "verify-full") -> str:
        query = (
            f"sslmode={mode}&sslrootcert={(ca or self.ours).file}" if mode != "disable" else "sslmode=disable"
        )
        return f"postgresql://cuebx:{CANARY}@{host}:{self.postgres.port}/{self.database}?{query}"

    def redis_url(self, ca: Authority | None = None, host: str = HOST) -> str:
        return f"rediss://:{CANARY}@{host}:{self.redis.port}/0?ssl_ca_certs={(ca or self.ours).file}"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("another"), "another")


@pytest.fixture
def valkey_port(private_valkey: Callable[..., EmbeddedValkey]) -> int:
    """A server that wants a password."""
    server = private_valkey(appendonly=False)
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", f">{CANARY}")
    return server.port


@pytest.fixture
def secured(
    database_url: str, postgres_server: EmbeddedPostgres, valkey_port: int, ours: Authority
) -> Iterator[Secured]:
    with (
        Front("postgresql", postgres_server.port, ours.server) as postgres,
        Front("redis", valkey_port, ours.server) as valkey,
    ):
        yield Secured(ours, postgres, valkey, database_url.rpartition("/")[2])


@pytest.fixture
def unsecured(database_url: str, ours: Authority) -> Iterator[Secured]:
    """Servers, or somebody in between, that say they have no TLS."""
    with Front("postgresql", 1, None) as postgres, Front("redis", 1, None) as valkey:
        yield Secured(ours, postgres, valkey, database_url.rpartition("/")[2])


async def by_asyncpg(url: str) -> None:
    database = Database(url, application="test", bound_s=5)
    try:
        await database.ping()
    finally:
        await database.close()


async def by_psycopg2(url: str) -> None:
    engine = sync_engine(url, application="test", bound_s=5)
    try:
        await asyncio.to_thread(lambda: engine.connect().close())
    finally:
        engine.dispose()


async def by_redis(url: str) -> None:
    client = connect(url, client_name="test")
    try:
        await client.ping()
    finally:
        await client.aclose()


async def by_blocking_redis(url: str) -> None:
    with closing(LeaderLock(url, 3)) as lock:
        await asyncio.to_thread(lock.acquire)


Driver = Callable[[str], Awaitable[None]]
postgres_drivers = pytest.mark.parametrize("driver", [by_asyncpg, by_psycopg2])
redis_drivers = pytest.mark.parametrize("driver", [by_redis, by_blocking_redis])
CERTIFICATE = "(?i)certificate|verify failed"


@postgres_drivers
async def test_postgresql_is_reached_where_its_certificate_is_trusted_and_names_the_host(
    driver: Driver, secured: Secured, another: Authority
) -> None:
    await driver(secured.postgres_url())
    assert secured.postgres.sessions == 1
    for url in (
        secured.postgres_url(another),
        secured.postgres_url(another, mode="require"),  # a CA that is named is meant
        secured.postgres_url(host="127.0.0.1"),
    ):
        with pytest.raises(Exception, match=CERTIFICATE) as refused:
            await driver(url)
        assert CANARY not in str(refused.value)
    assert secured.postgres.sessions == 1


@redis_drivers
async def test_redis_is_reached_where_its_certificate_is_trusted_and_names_the_host(
    driver: Driver, secured: Secured, another: Authority
) -> None:
    await driver(secured.redis_url())
    assert secured.redis.sessions == 1
    for url in (secured.redis_url(another), secured.redis_url(host="127.0.0.1")):
        with pytest.raises(redis.ConnectionError, match=CERTIFICATE) as refused:
            await driver(url)
        assert CANARY not in str(refused.value)
    assert secured.redis.sessions == 1


@postgres_drivers
async def test_a_postgresql_without_tls_hears_nothing_but_the_wish_for_it(
    driver: Driver, unsecured: Secured
) -> None:
    with pytest.raises(Exception, match=r"(?i)ssl"):
        await driver(unsecured.postgres_url())
    assert unsecured.postgres.received.replace(SSL_REQUEST, b"") == b""


@redis_drivers
async def test_a_redis_without_tls_hears_nothing_but_a_handshake(driver: Driver, unsecured: Secured) -> None:
    with pytest.raises(redis.RedisError):
        await driver(unsecured.redis_url())
    assert unsecured.redis.received
    assert CANARY.encode() not in unsecured.redis.received
    assert b"AUTH" not in unsecured.redis.received


@postgres_drivers
async def test_a_postgresql_that_wants_tls_refuses_a_plain_connection_before_any_password(
    driver: Driver, secured: Secured
) -> None:
    with pytest.raises(Exception, match="no encryption"):
        await driver(secured.postgres_url(mode="disable"))
    assert secured.postgres.sessions == 0
    assert CANARY.encode() not in secured.postgres.received


@redis_drivers
async def test_a_redis_that_wants_tls_refuses_a_plain_connection(driver: Driver, secured: Secured) -> None:
    with pytest.raises(redis.RedisError):
        await driver(f"redis://127.0.0.1:{secured.redis.port}/0")
    assert secured.redis.sessions == 0


async def test_a_host_name_goes_unchecked_only_where_the_url_says_so(secured: Secured) -> None:
    await by_redis(f"{secured.redis_url(host='127.0.0.1')}&ssl_check_hostname=false")
    await by_redis(f"rediss://:{CANARY}@127.0.0.1:{secured.redis.port}/0?ssl_cert_reqs=none")
    mode = secured.postgres_url(host="127.0.0.1", mode="verify-ca")
    await by_asyncpg(mode)
    await by_psycopg2(mode)


def test_all_processes_work_over_tls(secured: Secured, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": secured.postgres_url(), "REDIS_URL": secured.redis_url()}
    with system(environment, tmp_path) as ours:
        scheduler, worker = ours.start("scheduler_svc"), ours.start("worker_svc")
        api = Api(ours.start("api_svc")).wait_ready()
        assert api.request("POST", "/v1/runs", job="ping").is_success
        scheduler.wait_ready()
        worker.wait_ready()
        doctor = ours.cuebx("doctor", "--ping").stdout
    assert "ok       ping" in doctor, doctor


def test_a_process_that_trusts_another_ca_says_so_and_is_not_ready(
    secured: Secured, another: Authority, tmp_path: Path
) -> None:
    environment = {"DATABASE_URL": secured.postgres_url(another), "REDIS_URL": secured.redis_url(another)}
    with system(environment, tmp_path) as ours:
        scheduler = ours.start("scheduler_svc")
        told = scheduler.wait_for("not_ready")
        assert scheduler.readiness()[0] == 503
        status = ours.cuebx("status")
        assert scheduler.stop() == 0
    assert "CERTIFICATE_VERIFY_FAILED" in told["why"]
    assert status.returncode != 0
    assert len(status.stdout.splitlines()) == 1, status.stdout
    assert "certificate" in status.stdout
    assert CANARY not in ours.output + status.stdout
    assert "Traceback" not in ours.output
    assert secured.postgres.sessions == secured.redis.sessions == 0
