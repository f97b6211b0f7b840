import socket
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


def test_where_every_port_may_be_outgoing_any_free_one_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_first_outgoing_port", lambda: 1024)

    assert ports.free_port() >= 1024
