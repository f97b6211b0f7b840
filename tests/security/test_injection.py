"""Values that try to be more than values: in mail headers, in both parts of a mail, in URLs and in HTTP headers."""

import json
import threading
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jinja2 import meta, nodes
from pydantic import SecretStr

import worker_svc
from shared.ports import MailVersion, OutcomeUnknown
from shared.providers.brevo_mailer import BrevoMailer
from shared.providers.stripe_gateway import StripeGateway
from shared.settings import BrevoSettings, StripeSettings
from tests.brevo_sandbox import brevo_sandbox
from worker_svc.rendering import TemplateRenderer, header_text

TEMPLATES = Path(worker_svc.__file__).parent / "templates"
ENVIRONMENT = TemplateRenderer()._environment
HOSTILE = [
    "<script>x()</script>",
    '"><img src=x onerror=x()>',
    "' onmouseover='x()",
    "</title></p><a href=//e>",
    "{{ contact.EMAIL }}{% x %}{# #}",
    "${x}#{x}<%= x %>",
    "Ann\r\nBcc: eve@example.com\r\n\r\nbody",
    "Ann\x00\x0b\x0c\x1c\x85\u2028\u2029\u202eBcc: eve@example.com",
    "&lt;script&gt;",
]
INVOICE: dict[str, Any] = {
    "number": "A-1",
    "amount_due": 1234,
    "currency": "usd",
    "due_at": datetime(2030, 1, 30, tzinfo=UTC),
}
VALUES: dict[str, Any] = {
    "customer_name": "Ann",
    "sender_name": "CueBX",
    "time_zone": "UTC",
    "days": 3,
    "count": 2,
    "more": 1,
    "invoice": INVOICE,
    "invoices": [INVOICE],
}
#: What an outside program, or whoever configures the sender, chooses freely.
TEXTS = ("customer_name", "sender_name", "time_zone", "number")
RENDERED = ("payment_reminder", "customer_summary")


class Markup(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def values_with(name: str, value: str) -> dict[str, Any]:
    if name in VALUES:
        return {**VALUES, name: value}
    invoice = {**INVOICE, name: value}
    return {**VALUES, "invoice": invoice, "invoices": [invoice]}


def test_no_template_has_a_variable_that_these_tests_do_not_know() -> None:
    for file in TEMPLATES.iterdir():
        tree = ENVIRONMENT.parse(file.read_text())
        assert meta.find_undeclared_variables(tree) <= set(VALUES), file.name
        attributes = {node.attr for node in tree.find_all(nodes.Getattr)}
        assert attributes <= set(INVOICE), file.name


def test_no_template_switches_escaping_off() -> None:
    for file in TEMPLATES.iterdir():
        text = file.read_text()
        assert "safe" not in {node.name for node in ENVIRONMENT.parse(text).find_all(nodes.Filter)}
        assert "autoescape" not in text, file.name


@pytest.mark.parametrize("template", RENDERED)
@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_value_is_text_in_html_and_no_line_in_a_header(template: str, name: str) -> None:
    renderer = TemplateRenderer()
    plain = Markup(renderer.render(template, VALUES, locale="en_US").html).tags
    for value in HOSTILE:
        mail = renderer.render(template, values_with(name, value), locale="en_US")
        assert Markup(mail.html).tags == plain, value
        assert mail.subject.isprintable(), value
        for part in (mail.subject, mail.html, mail.text):
            assert not any(opening in part for opening in ("{{", "{%", "{#")), value


@pytest.mark.parametrize("value", HOSTILE)
def test_a_name_adds_no_line_to_the_text_of_a_mail(value: str) -> None:
    """The handlers pass names and numbers through `header_text`."""
    line = header_text(value)
    assert line.isprintable()
    mail = TemplateRenderer().render("payment_reminder", values_with("customer_name", line), locale="en_US")
    assert any(each.startswith("Hello") for each in mail.text.splitlines())
    assert not any(each.startswith("Bcc:") for each in mail.text.splitlines())


async def test_recipients_and_subjects_reach_brevo_as_json_and_the_key_as_the_only_header() -> None:
    hostile = MailVersion(
        "ann@example.com\r\nBcc: eve@example.com", "A\r\nB: c", "S\r\nBcc: e@e.com", "h", "t"
    )
    with Echo() as echo:
        mailer = BrevoMailer(brevo_settings(f"{echo.url}/v3"))
        with pytest.raises(OutcomeUnknown):
            await mailer.send_batch([hostile], tag="t\r\nX-Evil: 1", idempotency_key=uuid4())
        await mailer.close()
    [(path, headers, body)] = echo.requests
    assert path == "/v3/smtp/email"
    assert not [name for name in headers if name.lower() in ("bcc", "b", "x-evil")]
    sent = json.loads(body)
    assert sent["to"] == [{"email": hostile.email, "name": hostile.name}], (
        "one recipient, whatever it is called"
    )
    assert set(sent) == {"sender", "to", "subject", "htmlContent", "textContent", "headers", "tags"}
    assert list(sent["headers"]) == ["idempotencyKey"]


async def test_brevo_refuses_an_address_with_a_line_break_and_sends_to_nobody() -> None:
    hostile = MailVersion("ann@example.com\r\nBcc: eve@example.com", "A", "S", "h", "t")
    with brevo_sandbox() as sandbox:
        mailer = sandbox.mailer()
        with pytest.raises(Exception, match=r"(?i)email"):
            await mailer.send_batch([hostile], tag="t", idempotency_key=uuid4())
        await mailer.close()
        assert sandbox.addresses() == []


@pytest.mark.parametrize(
    "name",
    ["../charges", "pi_1/cancel", "pi_1?expand[]=x", "pi_1#x", "pi_1\r\nX-Evil: 1", "pi_1%2f..", "//e.com"],
)
async def test_the_name_of_a_payment_is_one_part_of_a_url(name: str) -> None:
    """A refund's row is written by others, its payment intent's id with it."""
    with Echo() as echo:
        settings = StripeSettings(stripe_api_key=SecretStr("sk_test_x"), stripe_api_base_url=echo.url)
        gateway = StripeGateway(settings)
        with pytest.raises(OutcomeUnknown):
            await gateway.payment_intent(name)
        with pytest.raises(OutcomeUnknown):
            await gateway.retrieve(name)
        await gateway.close()
    for (path, headers, _), prefix in zip(echo.requests, ("payment_intents", "refunds"), strict=True):
        first, part = path.rsplit("/", 1)
        assert first == f"/v1/{prefix}"
        assert not set(part) & set("?#/\r\n ")
        assert "X-Evil" not in headers


def brevo_settings(url: str) -> BrevoSettings:
    return BrevoSettings(
        brevo_api_key=SecretStr("xkeysib-x"), brevo_base_url=url, brevo_sender_email="billing@example.com"
    )


class Echo:
    """An HTTP server that keeps what it is sent, and fails."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                requests.append((self.path, dict(self.headers), self.rfile.read(length)))
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Echo":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
