import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import ports


def test_a_free_port_can_be_bound_and_is_none_that_outgoing_connections_get() -> None:
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    port = ports.free_port()

    assert 1024 < port < first_outgoing
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))


def test_a_port_in_use_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = ports.free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        monkeypatch.setattr("random.sample", lambda _range, _count: [taken])

        assert ports.free_port() != taken


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A free port, the next one free as well, that tests in other processes are never given; here it is the first that is tried."""
    mine = range(2_000 + os.getpid() % 3_000 * 2, 10_000, 64)
    port = next(port for port in mine if ports._can_bind(port) and ports._can_bind(port + 1))
    monkeypatch.setattr("random.sample", lambda _range, _count: [port])
    monkeypatch.setattr(ports, "_claims", claims := deque[int]())
    yield port
    for claim in claims:
        os.close(claim)


def test_a_port_that_another_process_was_given_is_not_offered_though_nobody_listens_yet(
    elsewhere: int,
) -> None:
    code = (
        f"import random; random.sample = lambda *_: [{elsewhere}]\n"
        "from local_stack.ports import free_port; print(free_port(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert int(other.stdout.readline()) == elsewhere
        assert ports.free_port() != elsewhere
        other.stdin.write("\n")
    assert ports.free_port() == elsewhere, "it is free again with its process"


def test_a_port_that_was_given_is_not_given_again_until_many_others_were(
    monkeypatch: pytest.MonkeyPatch, elsewhere: int
) -> None:
    monkeypatch.setattr(ports, "KEPT", 1)
    monkeypatch.setattr("random.sample", lambda _range, _count: [elsewhere, elsewhere + 1])

    assert [ports.free_port() for _ in range(3)] == [elsewhere, elsewhere + 1, elsewhere]


def test_where_every_port_may_be_outgoing_any_free_one_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_first_outgoing_port", lambda: 1024)

    assert ports.free_port() >= 1024
