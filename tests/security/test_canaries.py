"""Secrets and addresses that nobody else has: after every failure, no output of any process shows one."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import pytest
import redis

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.core.errors import ConfigError
from shared.settings import WorkerSettings, load
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.e2e.processes import REPOSITORY
from tests.security.system import Api, System, system
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox
from tests.wait import wait_until

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


@dataclass(frozen=True)
class Place:
    """Servers with passwords, providers that echo, a sink for Sentry, and the right settings for all of it."""

    ours: System
    environment: dict[str, str]
    stripe: StripeSandbox
    brevo: BrevoSandbox
    sentry: Sink


@pytest.fixture
def place(
    database_url: str, private_valkey: Callable[..., EmbeddedValkey], tmp_path: Path
) -> Iterator[Place]:
    """PostgreSQL trusts every local client here, whatever password it brings along."""
    valkey = private_valkey(appendonly=False)
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command("ACL", "SETUSER", "default", f">{REDIS}")
    with stripe_sandbox(auto=True) as stripe, brevo_sandbox() as brevo, sentry() as sink:
        environment = {
            "DATABASE_URL": database_url.replace("://cuebx@", f"://cuebx:{DATABASE}@"),
            "REDIS_URL": f"redis://:{REDIS_QUOTED}@127.0.0.1:{valkey.port}/0",
            "STRIPE_API_KEY": STRIPE,
            "STRIPE_API_BASE_URL": stripe.url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK,
            "BREVO_API_KEY": BREVO,
            "BREVO_BASE_URL": f"{brevo.url}/v3",
            "BREVO_WEBHOOK_TOKEN": BREVO_TOKEN,
            "API_TOKEN": API_TOKEN,
            "SENTRY_DSN": sink.dsn,
            "LOG_LEVEL": "DEBUG",
            "RUN_LEASE_S": "2",
            "LEADER_TTL_S": "1",
            "REFUNDS_EVERY_S": "1",
            "REMINDERS_EVERY_S": "1",
        }
        assert DATABASE in environment["DATABASE_URL"]
        with system(environment, tmp_path) as ours:
            yield Place(ours, environment, stripe, brevo, sink)


@pytest.fixture
def strict_postgres_url(private_postgres: Callable[..., EmbeddedPostgres], server_directory: Path) -> str:
    """Of a server that asks for a password, with another one."""
    rules = server_directory / "canary_hba.conf"
    rules.write_text("host all cuebx 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    postgres = private_postgres(hba_file=str(rules))
    with closing(psycopg2.connect(postgres.url)) as connection, connection.cursor() as sql:
        sql.execute(f"CREATE ROLE someone LOGIN PASSWORD '{DATABASE}'")
        connection.commit()
    return f"postgresql://someone:{WRONG}@127.0.0.1:{postgres.port}/cuebx"


def assert_unseen(*texts: str) -> None:
    for text in texts:
        for canary in CANARIES:
            where = text.find(canary)
            assert where < 0, f"{canary} is shown: …{text[max(0, where - 300) : where + 100]}…"


def test_wrong_passwords_are_told_of_without_the_password(place: Place, strict_postgres_url: str) -> None:
    redis_url = place.environment["REDIS_URL"].replace(REDIS_QUOTED, WRONG)
    wrong = {"DATABASE_URL": strict_postgres_url, "REDIS_URL": redis_url}
    processes = [place.ours.start(module, **wrong) for module in ("scheduler_svc", "worker_svc", "api_svc")]
    told = [json.dumps(process.wait_for("not_ready")) for process in processes]
    answers = [place.ours.cuebx(command, **wrong).stdout for command in ("status", "doctor")]
    ready = [json.dumps(process.readiness()) for process in processes[:2]]
    ready.append(Api(processes[2]).request("GET", "/readyz").text)
    for process in processes:
        process.stop()
    assert "password" in "".join(answers)
    assert_unseen(place.ours.output, *told, *answers, *ready, *place.sentry.received)


@pytest.mark.parametrize(
    "settings",
    [
        {"DATABASE_URL": f"postgresql://u:{WRONG}@h:port/d"},
        {"DATABASE_URL": f"mysql://u:{WRONG}@h/d"},
        {"DATABASE_URL": f"postgresql://u:{WRONG}@h/d?sslmode=on"},
        {"REDIS_URL": f"http://:{WRONG}@h"},
        {"REDIS_URL": f"redis://:{WRONG}@h:port/0"},
        {"BREVO_SENDER_EMAIL": "canary9 person"},
        {"WORKER_QUEUES": "refunds,other"},
        {"STRIPE_API_BASE_URL": f"u:{WRONG}@h"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_a_malformed_setting_is_named_and_not_shown(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {
        "DATABASE_URL": f"postgresql://u:{DATABASE}@h/d",
        "BREVO_API_KEY": BREVO,
        "STRIPE_API_KEY": STRIPE,
    }
    for name, value in {**right, "BREVO_SENDER_EMAIL": ADDRESS, **settings}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load(WorkerSettings)
    assert str(refused.value).startswith(f"{next(iter(settings))}: ")
    assert_unseen(str(refused.value))


def test_providers_that_echo_keys_and_addresses_are_quoted_without_them(place: Place) -> None:
    echo = f"Invalid API Key provided: {STRIPE}, {BREVO}, for {ADDRESS}"
    place.stripe.fault("status", status=500, body={"error": {"message": echo}}, saved=False)
    place.brevo.fault("status", status=400, body={"code": "invalid_parameter", "message": echo})
    worker, scheduler = place.ours.start("worker_svc"), place.ours.start("scheduler_svc")
    with (
        closing(psycopg2.connect(place.environment["DATABASE_URL"])) as connection,
        connection.cursor() as sql,
    ):

        def ask(statement: str) -> str:
            sql.execute(statement)
            connection.commit()
            row = sql.fetchone()
            return str(row[0]) if row and row[0] else ""

        owe_one_of_each(sql)
        connection.commit()
        refused = "SELECT max(id::text) FROM payment_reminders WHERE status = 'failed'"
        wait_until(lambda: ask(refused) and place.stripe.creates(), 30, "both have been tried")
        place.stripe.fault("status", match={}, status=401, body={"error": {"message": echo}}, times=1000)
        place.brevo.fault("status", match={}, status=401, body={"message": echo}, times=1000)
        owe_one_of_each(sql)
        connection.commit()
        worker.wait_for("queue_paused", times=2, timeout=30)
        kept = ask("SELECT string_agg(reason, ' ') FROM pauses")
        kept += ask("SELECT string_agg(reason, ' ') FROM payment_reminders")
        kept += ask("SELECT string_agg(coalesce(error, ''), ' ') FROM job_runs")
    commands = (("doctor",), ("runs", "list"))
    shown = [place.ours.cuebx(*command).stdout for command in commands]
    assert [worker.stop(), scheduler.stop()] == [0, 0]
    assert "Invalid API Key" in kept
    assert "Invalid API Key" in "".join(shown)
    assert place.sentry.events, "a paused queue is an event"
    assert_unseen(place.ours.output, kept, *shown, *place.sentry.received)


def owe_one_of_each(sql: "psycopg2.extensions.cursor") -> None:
    sql.execute(
        "INSERT INTO refunds (payment_intent_id, amount, currency) VALUES ('pi_' || gen_random_uuid(), 100, 'usd')"
    )
    sql.execute("INSERT INTO customers (email, name) VALUES (%s, 'A Person') RETURNING id", (ADDRESS,))
    sql.execute(
        "INSERT INTO invoices (customer_id, amount_due, currency, due_at, created_at)"
        " SELECT id, 100, 'usd', now() - interval '1 minute', now() - interval '1 day' FROM customers"
    )


def test_an_error_that_nobody_expected_goes_to_log_and_ledger_masked(place: Place) -> None:
    """PostgreSQL refuses what a handler writes, and quotes it."""
    with (
        closing(psycopg2.connect(place.environment["DATABASE_URL"])) as connection,
        connection.cursor() as sql,
    ):
        sql.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'no row for {ADDRESS} at postgresql://u:{WRONG}@h' USING ERRCODE = '23514'; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT ON payment_reminders FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        owe_one_of_each(sql)
        connection.commit()
        worker, scheduler = place.ours.start("worker_svc"), place.ours.start("scheduler_svc")
        worker.wait_for("handler_raised")

        def recorded() -> str | None:
            sql.execute("SELECT max(error) FROM job_runs WHERE job = 'send_payment_reminder_emails'")
            connection.commit()
            row = sql.fetchone()
            return row and row[0]

        error = wait_until(recorded, 20, "the error in the ledger")
    shown = place.ours.cuebx("runs", "list").stdout
    assert [worker.stop(), scheduler.stop()] == [0, 0]
    assert "no row for" in error
    assert "Traceback" in worker.output
    assert_unseen(place.ours.output, error, shown, *place.sentry.received)


FAILING = """
import logging
from shared import logs
from shared.settings import Settings, load

def fails(address, password):
    raise RuntimeError(f"no row for {address} at postgresql://u:{password}@h")

settings = load(Settings)
logs.configure(settings, "test")
logging.getLogger("library").info("mail to %s", settings.sentry_dsn and "canary9.person@example.com")
try:
    fails("canary9.person@example.com", settings.database_url.get_secret_value().split(":")[2].partition("@")[0])
except RuntimeError:
    logging.getLogger("library").exception("failed for %s", "canary9.person@example.com")
import sentry_sdk
sentry_sdk.flush(5)
"""


def test_what_goes_to_sentry_has_neither_addresses_nor_the_values_of_variables(tmp_path: Path) -> None:
    with sentry() as sink:
        environment = {
            "DATABASE_URL": f"postgresql://u:{DATABASE}@h/d",
            "SENTRY_DSN": sink.dsn,
            "LOG_DIR": "",
        }
        ended = subprocess.run(
            [sys.executable, "-c", FAILING],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    [event] = sink.events
    assert "no row for" in event
    assert '"function":"fails"' in event
    assert '"category":"library"' in event, "what was logged before"
    assert_unseen(ended.stderr, event)


def test_an_error_that_ends_a_process_is_told_masked(tmp_path: Path) -> None:
    ends = (
        "from shared.process import run_process\n"
        "from shared.settings import Settings\n"
        f"async def main(settings): raise RuntimeError('no row for {ADDRESS} at postgresql://u:{WRONG}@h')\n"
        "run_process('test', Settings, main)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", ends],
        env={"DATABASE_URL": f"postgresql://u:{DATABASE}@h/d", "LOG_DIR": ""},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "no row for" in ended.stderr
    assert_unseen(ended.stdout, ended.stderr)


def test_a_failing_command_shows_where_it_failed_masked(tmp_path: Path) -> None:
    environment = {"DATABASE_URL": f"postgresql://u:{WRONG}@127.0.0.1:1/d", "LOG_LEVEL": "DEBUG"}
    with system(environment, tmp_path) as ours:
        told = ours.cuebx("runs", "list", REDIS_URL=f"redis://:{WRONG}@127.0.0.1:1/0")
    assert told.returncode == 1
    assert "Traceback" in told.stdout
    assert_unseen(told.stdout)
