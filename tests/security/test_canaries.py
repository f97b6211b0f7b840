"""Secrets and addresses that nobody else has: after every failure, no output of any process of the system shows one."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import redis

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.security.canaries import (
    ADDRESS,
    API_TOKEN,
    BREVO,
    BREVO_TOKEN,
    DATABASE,
    REDIS,
    REDIS_QUOTED,
    STRIPE,
    WEBHOOK,
    WRONG,
    Sink,
    assert_unseen,
    sentry,
)
from tests.security.system import Api, System, system
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox
from tests.wait import wait_until


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
