"""The sandboxes as processes: what they print, how they end, what they remember."""

import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

START = [sys.executable, "-m", "local_stack.sandbox"]
STRIPE = {"Authorization": "Bearer sk_test_1"}


@contextmanager
def process(*arguments, **options):
    """A sandbox process and the line it printed when it listened; killed at the end if it still runs."""
    with subprocess.Popen([*START, *arguments], stdout=subprocess.PIPE, text=True, **options) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            if running.poll() is None:
                running.kill()


@pytest.mark.parametrize("name", ["stripe", "brevo"])
def test_a_sandbox_prints_its_port_is_healthy_and_ends_cleanly_on_sigterm(name):
    with process(name) as (running, line):
        assert (line["event"], line["sandbox"]) == ("listening", name)
        assert line["url"] == f"http://127.0.0.1:{line['port']}"
        assert httpx.get(f"{line['url']}/healthz", trust_env=False).json() == {"status": "ok"}
        running.send_signal(signal.SIGTERM)
        assert running.wait(5) == 0


def test_a_caller_that_leaves_in_the_middle_of_its_body_leaves_no_traceback():
    with process("stripe", "--auto", stderr=subprocess.PIPE) as (running, line):
        with socket.create_connection(("127.0.0.1", line["port"])) as caller:
            caller.sendall(
                b"POST /v1/refunds HTTP/1.1\r\nHost: stripe\r\nContent-Length: 100\r\n\r\npayment_intent="
            )
        assert httpx.get(f"{line['url']}/_sandbox/books", trust_env=False).json()["refunds"] == []
        running.terminate()
        _, errors = running.communicate(timeout=5)
    assert "Traceback" not in errors, errors


def test_stripes_books_and_keys_survive_a_kill(tmp_path):
    options = ("stripe", "--auto", "--settle-s", "0.2", "--data", str(tmp_path))
    refund = {"payment_intent": "pi_eur_pending_1", "amount": 5, "metadata[refund_id]": "r1"}
    with process(*options) as (running, line):
        headers = {**STRIPE, "Idempotency-Key": "k1"}
        first = httpx.post(f"{line['url']}/v1/refunds", data=refund, headers=headers, trust_env=False)
        httpx.post(
            f"{line['url']}/_sandbox/refunds/{first.json()['id']}",
            json={"status": "succeeded"},
            trust_env=False,
        ).raise_for_status()
        running.kill()
    with (tmp_path / "stripe.jsonl").open("a") as journal:
        journal.write('{"kind": "refund", "torn')
    with process(*options) as (_, line):
        again = httpx.post(f"{line['url']}/v1/refunds", data=refund, headers=headers, trust_env=False)
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
        [kept] = httpx.get(f"{line['url']}/_sandbox/books", trust_env=False).json()["refunds"]
        assert (kept["status"], kept["currency"], kept["metadata"]) == (
            "succeeded",
            "eur",
            {"refund_id": "r1"},
        )


def test_a_kill_between_a_refund_and_its_answer_still_replays_it(tmp_path):
    options = ("stripe", "--auto", "--data", str(tmp_path))
    with process(*options) as (running, line), httpx.Client(base_url=line["url"], trust_env=False) as http:
        http.post("/_sandbox/faults", json={"mode": "delay", "delay_s": 60})
        headers = {**STRIPE, "Idempotency-Key": "k1"}
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/refunds", data={"payment_intent": "pi_1"}, headers=headers, timeout=0.3)
        running.kill()
    with process(*options) as (_, line), httpx.Client(base_url=line["url"], trust_env=False) as http:
        again = http.post("/v1/refunds", data={"payment_intent": "pi_1"}, headers=headers)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(http.get("/_sandbox/books").json()["refunds"]) == 1


def test_brevos_books_keys_and_blocks_survive_a_kill(tmp_path):
    options = ("brevo", "--events-delay-s", "0", "--data", str(tmp_path))
    request = {
        "sender": {"email": "billing@cuebx.test"},
        "to": [{"email": "unsub1@example.com"}],
        "subject": "Invoice",
        "textContent": "Hello",
        "tags": ["t1"],
        "headers": {"idempotencyKey": "0b0f1cc3-6e3f-4b5e-8a2e-2f6b1d7a9c11"},
    }
    headers = {"api-key": "k"}
    with process(*options) as (running, line):
        httpx.post(f"{line['url']}/v3/smtp/email", json=request, headers=headers, trust_env=False)
        running.kill()
    with process(*options) as (_, line), httpx.Client(base_url=line["url"], headers=headers) as http:
        assert http.post("/v3/smtp/email", json=request).json()["code"] == "duplicate_parameter"
        assert len(http.get("/v3/smtp/statistics/events", params={"tags": "t1"}).json()["events"]) == 3
        assert http.get("/v3/smtp/blockedContacts").json()["count"] == 1
        assert len(http.get("/_sandbox/books").json()["mails"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--rate", "-1"], "--rate"), (["--auto", "--auto-currency", "doubloon"], "auto_currency")],
)
def test_a_setting_that_makes_no_sense_is_one_line_and_status_2(arguments, said):
    ended = subprocess.run([*START, "stripe", *arguments], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_taken_port_is_one_line_and_status_1():
    with process("brevo") as (_, line):
        ended = subprocess.run(
            [*START, "brevo", "--port", str(line["port"])], capture_output=True, text=True, timeout=20
        )
    assert ended.returncode == 1
    assert "cannot listen" in ended.stderr
