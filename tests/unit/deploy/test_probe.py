"""The probe of the containers' health checks."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.probe import complaint
from local_stack.ports import free_port


class _Readiness(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"ready": false}' if self.path == "/readyz" else b"{}"
        self.send_response(503 if self.path == "/readyz" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[str]:
    """Of a process that lives and is not ready."""
    with HTTPServer(("127.0.0.1", 0), _Readiness) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield str(server.server_address[1])
        server.shutdown()
        thread.join()


def test_a_process_that_answers_is_well(port: str) -> None:
    assert complaint("PROBED_PORT", port, "/healthz") is None


def test_a_process_that_is_not_ready_is_told_with_its_reason(port: str) -> None:
    found = complaint("PROBED_PORT", port, "/readyz")

    assert found is not None
    assert "503" in found
    assert '"ready": false' in found


def test_a_process_that_does_not_listen_is_not_well() -> None:
    assert complaint("PROBED_PORT", str(free_port()), "/healthz") is not None


def test_the_variable_wins_over_the_usual_port(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBED_PORT", port)

    assert complaint("PROBED_PORT", str(free_port()), "/healthz") is None


@pytest.mark.parametrize("unknown", ["off", "0"])
def test_a_process_without_a_known_port_is_not_called_ill(
    unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBED_PORT", unknown)

    assert complaint("PROBED_PORT", "9100", "/readyz") is None


def test_a_proxy_of_the_environment_is_not_asked(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")

    assert complaint("PROBED_PORT", port, "/healthz") is None
