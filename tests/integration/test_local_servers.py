"""The embedded servers: they keep their data, leave nothing behind, and say what is wrong."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from local_stack.postgres import EmbeddedPostgres
from local_stack.server_process import EmbeddedServer, ServerStartError
from local_stack.valkey import EmbeddedValkey
from tests.scratch import scratch_directory
from tests.wait import wait_until

KINDS = pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the test's own that servers can reach when the tests run as root."""
    with scratch_directory() as directory:
        yield directory


def execute(url: str, statement: str) -> list[Any]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def remember(server: EmbeddedServer) -> None:
    if isinstance(server, EmbeddedPostgres):
        execute(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    elif isinstance(server, EmbeddedValkey):
        with redis.Redis.from_url(server.url) as client:
            client.set("answer", 42)


def recall(server: EmbeddedServer) -> int:
    if isinstance(server, EmbeddedPostgres):
        return int(execute(server.url, "SELECT answer FROM kept")[0][0])
    assert isinstance(server, EmbeddedValkey)
    with redis.Redis.from_url(server.url) as client:
        return int(client.get("answer"))


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def children_of(url: str) -> list[int]:
    return [
        int(pid) for (pid,) in execute(url, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    ]


@KINDS
def test_data_outlives_the_server_object(kind: type[EmbeddedServer], place: Path) -> None:
    with kind(place / "data") as first:
        remember(first)

    assert not alive(first.pid)
    with kind(place / "data") as second:
        assert recall(second) == 42


@KINDS
def test_a_restart_keeps_the_url_and_the_data(kind: type[EmbeddedServer], place: Path) -> None:
    with kind(place / "data") as server:
        remember(server)
        before = (server.port, server.pid)

        server.restart()

        assert server.port == before[0]
        assert server.pid != before[1]
        assert recall(server) == 42


@KINDS
def test_a_killed_server_recovers_what_was_committed(kind: type[EmbeddedServer], place: Path) -> None:
    with kind(place / "data") as server:
        remember(server)

        server.kill()
        assert not server.running
        server.start()

        assert recall(server) == 42


def test_killing_postgres_ends_its_children_at_once(place: Path) -> None:
    with EmbeddedPostgres(place / "data") as server, closing(psycopg2.connect(server.url)):
        children = children_of(server.url)
        assert len(children) > 3

        server.kill()

        assert [child for child in children if alive(child)] == []


def test_a_killed_postgres_leaves_no_shared_memory_after_stop(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    server.start()
    segment = (place / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
    server.kill()
    assert segment in segments()

    server.stop()

    assert segment not in segments()


def segments() -> list[str]:
    """Ids of System V shared memory, without what is only there until its last user leaves (key 0)."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [identifier for key, identifier, *_ in map(str.split, lines) if key != "0"]


def test_a_server_that_fails_to_start_does_no_harm_to_the_one_that_has_its_data(place: Path) -> None:
    with EmbeddedPostgres(place / "data") as server:
        second = EmbeddedPostgres(place / "data")
        with pytest.raises(ServerStartError, match=r"postmaster\.pid"):
            second.start()
        second.stop()

        assert execute(server.url, "SELECT 1") == [(1,)]
        assert (place / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1] in segments()


START_AND_WAIT = """
    import sys, threading
    from pathlib import Path
    from local_stack.postgres import EmbeddedPostgres
    from local_stack.valkey import EmbeddedValkey
    servers = [EmbeddedPostgres(Path(sys.argv[1]) / "postgres"), EmbeddedValkey(Path(sys.argv[1]) / "valkey")]
    def start():
        for server in servers:
            server.start()
    starter = threading.Thread(target=start)
    starter.start()
    starter.join()
    print(servers[0].url, *(server.pid for server in servers), flush=True)
    sys.stdin.read()
"""


@dataclass
class Parent:
    process: subprocess.Popen[str]
    postgres_url: str
    pids: list[int]


@pytest.fixture
def parent(place: Path) -> Iterator[Parent]:
    """A process that started one server of each kind, from a thread that has ended since."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(START_AND_WAIT), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        url, postgres, valkey = process.stdout.readline().split()
        yield Parent(process, url, [int(postgres), int(valkey)])
        process.kill()


def test_servers_end_with_a_parent_that_was_killed(parent: Parent) -> None:
    everybody = parent.pids + children_of(parent.postgres_url)
    assert all(alive(pid) for pid in everybody)

    parent.process.send_signal(signal.SIGKILL)

    wait_until(lambda: not any(alive(pid) for pid in everybody), what="the servers ended")


def test_servers_outlive_the_thread_that_started_them(parent: Parent) -> None:
    with pytest.raises(AssertionError, match="not within"):
        wait_until(lambda: not all(alive(pid) for pid in parent.pids), timeout=0.5)


def test_a_ctrl_c_for_the_parent_does_not_reach_its_servers(parent: Parent) -> None:
    # A terminal sends it to a whole process group.
    assert parent.process.pid not in [os.getpgid(pid) for pid in parent.pids]


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


@KINDS
def test_a_port_that_is_taken_is_named_in_the_error(kind: type[EmbeddedServer], place: Path) -> None:
    with EmbeddedValkey(place / "first") as first:
        second = kind(place / "second", port=first.port)

        with pytest.raises(ServerStartError, match="Address already in use"):
            second.start()

        assert not second.running


@KINDS
def test_a_directory_with_something_else_in_it_is_refused_and_left_alone(
    kind: type[EmbeddedServer], place: Path
) -> None:
    precious = place / "home" / "thesis.txt"
    precious.parent.mkdir(mode=0o755)
    precious.write_text("do not touch")
    before = precious.parent.stat()

    with pytest.raises(ServerStartError, match="nothing was changed"):
        kind(precious.parent).start()

    after = precious.parent.stat()
    assert precious.read_text() == "do not touch"
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


def test_a_damaged_data_directory_is_reported_with_the_end_of_the_log(place: Path) -> None:
    with EmbeddedPostgres(place / "data") as server:
        pass
    (place / "data" / "global" / "pg_control").unlink()

    with pytest.raises(ServerStartError, match=r"(?s)ended with status .*pg_control"):
        server.start()

    assert not server.running


def test_a_setting_that_does_not_exist_is_reported_with_the_servers_words(place: Path) -> None:
    with pytest.raises(ServerStartError, match="no-such-setting"):
        EmbeddedValkey(place / "data", settings={"no-such-setting": "1"}).start()


@KINDS
def test_data_lives_where_it_was_asked_for_even_below_a_directory_that_is_private(
    kind: type[EmbeddedServer], place: Path
) -> None:
    private = place / "private home" / "clone"
    private.mkdir(parents=True)
    private.parent.chmod(0o700)

    with kind(private / "data") as server:
        remember(server)
    with kind(private / "data") as again:
        assert recall(again) == 42

    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert any((private / "data").iterdir())


@KINDS
def test_only_its_owner_may_look_into_a_data_directory(kind: type[EmbeddedServer], place: Path) -> None:
    with kind(place / "data"):
        assert stat.S_IMODE((place / "data").stat().st_mode) == 0o700


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


def test_a_scratch_directory_goes_with_a_killed_process_and_its_servers() -> None:
    script = """
        import sys
        from local_stack.postgres import EmbeddedPostgres
        from tests.scratch import scratch_directory
        with scratch_directory() as directory:
            EmbeddedPostgres(directory / "postgres").start()
            print(directory, flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        directory = Path(process.stdout.readline().strip())
        assert (directory / "postgres" / "PG_VERSION").exists()

        process.kill()

        wait_until(lambda: not directory.exists(), what="the directory is gone")
