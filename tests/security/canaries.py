"""Secrets and addresses that nobody else has, and a sink that stands for Sentry."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATABASE, REDIS, WRONG = "canary1-db", "canary2-r@dis/x", "canary3-wrong"
STRIPE, WEBHOOK, BREVO, BREVO_TOKEN = "sk_test_canary4", "whsec_canary5", "xkeysib-canary6-x", "canary7-token"
API_TOKEN = "canary8-api-token"
ADDRESS = "canary9.person@example.com"
#: What must not be seen, and the host of the address as a sign that something of it was told.
CANARIES = ("canary1", "canary2", "canary3", "canary4", "canary5", "canary6", "canary7", "canary8", "canary9")
#: Encoded for a URL.
REDIS_QUOTED = "canary2-r%40dis%2Fx"


@dataclass
class Sink:
    """Stands for Sentry: keeps what is sent."""

    dsn: str = ""
    received: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        return [each for each in self.received if '"type":"event"' in each.replace(" ", "")]


@contextmanager
def sentry() -> Iterator[Sink]:
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            sink.received.append(body.decode(errors="replace"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        sink.dsn = f"http://key@127.0.0.1:{server.server_port}/1"
        yield sink
        server.shutdown()
        thread.join(10)


def assert_unseen(*texts: str) -> None:
    for text in texts:
        for canary in CANARIES:
            where = text.find(canary)
            assert where < 0, f"{canary} is shown: …{text[max(0, where - 300) : where + 100]}…"
