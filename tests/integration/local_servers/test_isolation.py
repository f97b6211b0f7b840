"""Servers share nothing: not with each other, not with the network, not with our environment."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from tests.integration.local_servers.servers import execute, remember


def test_two_servers_of_a_kind_run_side_by_side_on_ports_of_their_own(place: Path) -> None:
    with (
        EmbeddedPostgres(place / "a") as one,
        EmbeddedPostgres(place / "b") as two,
        EmbeddedValkey(place / "c") as three,
        EmbeddedValkey(place / "d") as four,
    ):
        assert len({server.port for server in (one, two, three, four)}) == 4
        remember(one)
        remember(three)
        assert execute(two.url, "SELECT to_regclass('kept')") == [(None,)]
        with redis.Redis.from_url(four.url) as client:
            assert client.dbsize() == 0


def test_servers_listen_on_the_loopback_interface_alone(place: Path) -> None:
    with EmbeddedPostgres(place / "a") as postgres, EmbeddedValkey(place / "b") as valkey:
        assert execute(postgres.url, "SHOW listen_addresses") == [("127.0.0.1",)]
        assert execute(postgres.url, "SHOW unix_socket_directories") == [("",)]
        with redis.Redis.from_url(valkey.url) as client:
            assert client.config_get("bind", "maxmemory-policy") == {
                "bind": "127.0.0.1",
                "maxmemory-policy": "noeviction",
            }


def test_programs_come_from_the_installed_packages_and_not_from_path(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(place / "empty"))
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=nonsense")

    with EmbeddedValkey(place / "b"), EmbeddedPostgres(place / "a") as postgres:
        monkeypatch.delenv("PGOPTIONS")
        assert execute(postgres.url, "SHOW server_version_num")[0][0].startswith("18")


def test_a_server_sees_nothing_of_our_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hunter2")

    with EmbeddedPostgres(place / "data") as server:
        execute(server.url, "CREATE TABLE seen (line text)")
        execute(server.url, "COPY seen FROM PROGRAM 'env'")
        lines = [line for (line,) in execute(server.url, "SELECT line FROM seen")]

    assert "TZ=UTC" in lines
    assert not [line for line in lines if "hunter2" in line]


def test_a_private_server_can_be_lost_without_the_shared_one_noticing(
    private_postgres: Callable[..., EmbeddedPostgres],
    private_valkey: Callable[..., EmbeddedValkey],
    empty_database_url: str,
    redis_url: str,
) -> None:
    private_postgres(max_connections="20").kill()
    private_valkey(settings={"maxmemory": "10mb"}).kill()

    assert execute(empty_database_url, "SELECT 1") == [(1,)]
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
