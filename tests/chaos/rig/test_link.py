"""The links themselves: each fault is what it says."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.rig.link import Link, Wires
from tests.wait import wait_until


class Echo:
    """A server that answers what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.resets = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                self.resets += 1

    def close(self) -> None:
        with suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    with Wires() as wires:
        yield wires.link(echo.port)


@pytest.fixture
def client(link: Link) -> Iterator[socket.socket]:
    with connect(link) as client:
        yield client


def connect(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=5)


def ask(client: socket.socket, question: bytes, within_s: float = 5) -> bytes:
    client.settimeout(within_s)
    client.sendall(question)
    answer = b""
    while len(answer) < len(question):
        piece = client.recv(65536)
        if not piece:
            return answer
        answer += piece
    return answer


def silent(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False


def test_a_healthy_link_carries_everything_both_ways(client: socket.socket) -> None:
    big = bytes(range(256)) * 4096
    assert ask(client, b"one") == b"one"
    answers: list[bytes] = []
    reader = threading.Thread(target=lambda: answers.append(ask(client, big)))
    reader.start()
    reader.join(10)
    assert answers == [big]


def test_the_end_of_a_connection_reaches_the_other_side_and_leaves_nothing(
    client: socket.socket, link: Link
) -> None:
    assert ask(client, b"one") == b"one"
    assert link.connections == 1
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b""
    wait_until(lambda: link.connections == 0, 5, "no connection")


def test_a_cut_link_refuses_and_resets_until_it_is_healed(
    client: socket.socket, link: Link, echo: Echo
) -> None:
    assert ask(client, b"one") == b"one"
    for _ in range(2):
        link.cut()
        with pytest.raises(ConnectionRefusedError):
            connect(link)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: echo.resets == 1, 5, "a reset at the server")
    link.heal()
    with connect(link) as again:
        assert ask(again, b"two") == b"two"


def test_a_cut_link_keeps_its_port_from_everybody_else(link: Link) -> None:
    link.cut()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", link.port))


def test_a_black_hole_is_silent_and_gives_back_what_it_took_when_it_is_healed(
    client: socket.socket, link: Link, echo: Echo
) -> None:
    assert ask(client, b"one") == b"one"
    link.blackhole()
    client.sendall(b"two")
    with connect(link) as another:
        another.sendall(b"three")
        assert silent(client)
        assert silent(another)
        assert echo.heard == b"one"
        link.heal()
        another.settimeout(5)
        assert another.recv(10) == b"three"
    client.settimeout(5)
    assert client.recv(10) == b"two"


def test_a_black_hole_for_answers_lets_the_server_do_its_work(
    client: socket.socket, link: Link, echo: Echo
) -> None:
    link.blackhole("answers")
    client.sendall(b"one")
    wait_until(lambda: echo.heard == b"one", 5, "the request")
    assert silent(client)


def test_a_black_hole_swallows_the_end_of_a_connection_too(
    client: socket.socket, link: Link, echo: Echo
) -> None:
    assert ask(client, b"one") == b"one"
    link.blackhole("requests")
    client.shutdown(socket.SHUT_WR)
    assert silent(client)
    link.heal()
    client.settimeout(5)
    assert client.recv(1) == b""


def test_a_delayed_link_is_slow_in_both_directions(client: socket.socket, link: Link) -> None:
    link.delay(0.1)
    began = time.monotonic()
    assert ask(client, b"one") == b"one"
    assert time.monotonic() - began >= 0.2
    link.heal()
    began = time.monotonic()
    assert ask(client, b"two") == b"two"
    assert time.monotonic() - began < 0.2


def test_half_closed_ends_the_answers_and_nothing_else(client: socket.socket, link: Link, echo: Echo) -> None:
    assert ask(client, b"one") == b"one"
    link.half_close()
    client.settimeout(5)
    assert client.recv(1) == b""
    client.sendall(b"two")
    wait_until(lambda: echo.heard == b"onetwo", 5, "what was sent afterwards")


def test_reset_connections_are_reset_on_both_sides_and_new_ones_are_welcome(
    client: socket.socket, link: Link, echo: Echo
) -> None:
    assert ask(client, b"one") == b"one"
    link.reset_connections()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: echo.resets == 1, 5, "a reset at the server")
    with connect(link) as again:
        assert ask(again, b"two") == b"two"


def test_a_link_to_nobody_resets_its_connections(link: Link, echo: Echo) -> None:
    echo.close()
    # The reset may arrive before connecting has returned.
    with pytest.raises(ConnectionResetError), connect(link) as client:
        client.recv(1)
