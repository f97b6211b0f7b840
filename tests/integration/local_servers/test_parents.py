"""Servers end with the process that started them, whatever ends it, and not before."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.local_servers.servers import alive, children_of
from tests.wait import wait_until

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
