"""A server that cannot start says what is wrong, and changes nothing."""

from pathlib import Path

import pytest

from local_stack.postgres import EmbeddedPostgres
from local_stack.server_process import EmbeddedServer, ServerStartError
from local_stack.valkey import EmbeddedValkey
from tests.integration.local_servers.servers import KINDS, execute, segments


def test_a_server_that_fails_to_start_does_no_harm_to_the_one_that_has_its_data(place: Path) -> None:
    with EmbeddedPostgres(place / "data") as server:
        second = EmbeddedPostgres(place / "data")
        with pytest.raises(ServerStartError, match=r"postmaster\.pid"):
            second.start()
        second.stop()

        assert execute(server.url, "SELECT 1") == [(1,)]
        assert (place / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1] in segments()


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
