"""The embedded servers keep their data where they were told to, and nobody else may look at it."""

import stat
from contextlib import closing
from pathlib import Path

import psycopg2

from local_stack.postgres import EmbeddedPostgres
from local_stack.server_process import EmbeddedServer
from tests.integration.local_servers.servers import KINDS, alive, children_of, recall, remember, segments


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
