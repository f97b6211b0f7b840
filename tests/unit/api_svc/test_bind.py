"""The API's port."""

import socket
from contextlib import closing

from api_svc.server import bind


def test_a_port_that_was_had_takes_connections_before_anybody_serves() -> None:
    with (
        closing(bind("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == listener.getsockname()
