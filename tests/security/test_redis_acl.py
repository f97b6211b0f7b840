"""deploy/redis/users.acl: the whole system works with its accounts, and each permission in it is one that was needed."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from tests.brevo_sandbox import brevo_sandbox
from tests.databases import Databases
from tests.security.system import Api, System, system
from tests.security.traffic import (
    PASSWORD,
    Command,
    Traffic,
    account_of,
    accounts,
    admin,
    guarded_valkey,
    refused,
    url_for,
)
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox
from tests.wait import wait_until

SCHEDULER, WORKER, API, OPERATOR = "cuebx-scheduler", "cuebx-worker", "cuebx-api", "cuebx-operator"
OURS = (SCHEDULER, WORKER, API, OPERATOR)
#: A run that says queued and has no message: the sweeper's slow check has to find it.
FORGOTTEN = (
    "INSERT INTO job_runs (job, queue, state, queued_at, key)"
    " VALUES ('ping', 'maintenance', 'queued', now() - interval '1 hour', 'forgotten')"
)
WAKE = "cuebx:queue:maintenance:wake"
STALE = "00000000-0000-7000-8000-000000000001:1"


@dataclass(frozen=True)
class Observed:
    """A life of the whole system: what each account sent, what was refused, what the operator's commands said."""

    traffic: dict[str, set[Command]]
    refusals: list[Any]
    doctor: str
    status: str
    server: "redis.Redis[Any]"
    port: int


@pytest.fixture(scope="module")
def observed(
    server_directory: Path, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Observed]:
    database_url = databases.create_migrated()
    with ExitStack() as stack:
        valkey = stack.enter_context(guarded_valkey(server_directory))
        stripe = stack.enter_context(stripe_sandbox())
        brevo = stack.enter_context(brevo_sandbox())
        environment = {
            "DATABASE_URL": database_url,
            "STRIPE_API_BASE_URL": stripe.url,
            "BREVO_BASE_URL": f"{brevo.url}/v3",
            "RUN_LEASE_S": "1.5",
            "LEADER_TTL_S": "1",
            "WORKER_MAX_JOBS": "1",  # what does not fit is left for the next look
        }
        server = stack.enter_context(admin(valkey))
        ours = stack.enter_context(system(environment, tmp_path_factory.mktemp("acl")))
        urls = {name: {"REDIS_URL": url_for(valkey, name)} for name in OURS}
        plant_what_needs_repair(server, stripe, database_url)
        with Traffic(valkey) as traffic:
            doctor, status = live(ours, urls, server, traffic)
        yield Observed(traffic.commands, server.acl_log(), doctor, status, server, valkey.port)
    databases.drop(database_url)


def plant_what_needs_repair(server: "redis.Redis[Any]", stripe: StripeSandbox, database_url: str) -> None:
    server.set("cuebx:leader", "a lock without expiry, as only a person can make one")
    server.zadd("cuebx:queue:maintenance", {"not a message": 1, **{f"{STALE}{n}": 2 for n in range(3)}})
    server.zadd("cuebx:queue:maintenance:taken", {STALE: 1})
    server.sadd("cuebx:queue:refunds:wake", "a set where a list should be")
    stripe.add_intent("pi_1")
    stripe.fault("rate_limit", times=1)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(FORGOTTEN)
        connection.commit()


def live(
    ours: System, urls: dict[str, dict[str, str]], server: "redis.Redis[Any]", traffic: Traffic
) -> tuple[str, str]:
    """Everything the system does with Redis; what `doctor --ping` and `status` say in the end."""
    leaders = [ours.start("scheduler_svc", **urls[SCHEDULER]) for _ in range(2)]
    ours.start("worker_svc", **urls[WORKER])
    api = Api(ours.start("api_svc", ENABLE_SCHEDULER="false", **urls[API])).wait_ready()

    def enqueues_with_all_it_needs() -> bool:
        # A token of the scheduler that no worker took yet needs no second one: only without it does the API push its own.
        server.delete(WAKE)
        server.script_flush()
        assert api.request("POST", "/v1/runs", job="ping").is_success
        sent = traffic.commands[API].copy()  # its reader adds to it meanwhile
        return {"SCRIPT", "RPUSH"} <= {command[0] for command in sent}

    wait_until(enqueues_with_all_it_needs, what="the API has its script back and woke a worker")
    refund = api.request("POST", "/v1/refunds", payment_intent_id="pi_1", amount=100, currency="usd").json()
    first = wait_until(lambda: [p for p in leaders if p.events("term_began")], 20, "a leader")[0]
    every_second = ("schedules", "add", "often", "--job", "ping", "--every", "1s", "--catch-up")
    assert ours.cuebx(*every_second, **urls[OPERATOR]).returncode == 0

    def repaired() -> bool:
        state = api.request("GET", f"/v1/refunds/{refund['id']}").json()["status"]
        parked = server.lrange("cuebx:parked", 0, -1)
        done = state == "succeeded" and len(parked) == 2 and "not a message" in parked
        return done and server.zscore("cuebx:queue:maintenance:taken", STALE) is None

    wait_until(repaired, 30, "refund paid, what is unreadable parked, what was taken given back")
    server.delete("cuebx:marker", "cuebx:parked")
    assert first.stop() == 0
    wait_until(
        lambda: [p for p in leaders if p is not first and p.events("term_began")], 20, "the next leader"
    )
    doctor = ours.cuebx("doctor", "--ping", **urls[OPERATOR])
    status = ours.cuebx("status", **urls[OPERATOR])
    for process in ours.started:
        if process.status is None:
            process.send(signal.SIGTERM)
    assert [process.end() for process in ours.started] == [0, 0, 0, 0]
    # Nobody else is there to load the script or to have woken the workers before the command has to.
    server.script_flush()
    server.delete(WAKE)
    assert ours.cuebx("enqueue", "ping", **urls[OPERATOR]).returncode == 0
    return doctor.stdout, status.stdout


def test_the_whole_system_works_with_the_accounts_of_the_file_and_nothing_it_needs_is_refused(
    observed: Observed,
) -> None:
    # How snapshots are set is the one thing that doctor asks and need not be told: CONFIG GET would show passwords, too.
    assert {refusal["object"] for refusal in observed.refusals} <= {"config|get"}
    assert "this account may not ask" in observed.doctor
    assert "PROBLEM" not in observed.doctor, observed.doctor
    assert "ok       ping" in observed.doctor, observed.doctor
    assert "away" not in observed.status, observed.status


@pytest.mark.parametrize("account", OURS)
def test_every_permission_of_an_account_is_one_that_its_processes_used(
    observed: Observed, account: str
) -> None:
    rules = accounts()[account]
    used = observed.traffic[account]
    assert not [c for c in used if refused(observed.server, account, c)]
    superfluous = []
    for index, rule in enumerate(rules):
        for weaker in _weaker(rule):
            fewer = [*rules[:index], *weaker, *rules[index + 1 :]]
            with account_of(observed.server, "fewer", fewer) as name:
                if not any(refused(observed.server, name, command) for command in used):
                    superfluous.append((rule, weaker))
    assert superfluous == []


def _weaker(rule: str) -> list[list[str]]:
    """A permission taken away, and a key that may be read and written allowed to be only one of both."""
    if rule[0] not in "+~&%":
        return []
    return [[], [f"%R{rule}"], [f"%W{rule}"]] if rule[0] == "~" else [[]]


def test_an_api_that_stands_for_leader_can_use_the_schedulers_account(observed: Observed) -> None:
    rejected = [c for c in observed.traffic[API] if refused(observed.server, SCHEDULER, c)]
    assert rejected == [("PING",)]


DANGEROUS: list[Command] = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "GET", "requirepass"),
    ("KEYS", "*"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "cuebx-worker", "+@all"),
    ("SHUTDOWN",),
    ("DEBUG", "SLEEP", "0"),
    ("MONITOR",),
    ("SAVE",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MIGRATE", "127.0.0.1", "1", "cuebx:leader", "0", "1"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("MODULE", "LOAD", "/tmp/x.so"),
    ("EVAL", "return 1", "1", "another:key"),
    ("GET", "another:key"),
    ("SET", "another:key", "1"),
    ("DEL", "another:key"),
    ("PUBLISH", "another", "1"),
    ("SUBSCRIBE", "another"),
    ("PSUBSCRIBE", "*"),
]


@pytest.mark.parametrize("account", [*OURS, "default"])
def test_an_account_can_neither_clear_nor_change_the_server_nor_touch_other_keys(
    observed: Observed, account: str
) -> None:
    assert [command for command in DANGEROUS if not refused(observed.server, account, command)] == []


def test_a_script_reaches_no_more_keys_than_its_account(observed: Observed) -> None:
    with redis.Redis(port=observed.port, username=SCHEDULER, password=PASSWORD) as scheduler:
        with pytest.raises(redis.ResponseError, match="No permissions to access a key"):
            scheduler.eval("return redis.call('SET', 'another:key', '1')", 0)


def test_only_a_scheduler_can_take_leadership(observed: Observed) -> None:
    take = ("SET", "cuebx:leader", "mine")
    assert [name for name in OURS if not refused(observed.server, name, take)] == [SCHEDULER]


def test_as_shipped_nobody_can_log_in_and_a_stranger_can_only_ping(observed: Observed) -> None:
    for account, rules in accounts().items():
        assert ("nopass" in rules) == (account == "default")
        assert not [rule for rule in rules if rule[0] in "><#"]
    with redis.Redis(port=observed.port) as stranger:
        assert stranger.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            stranger.info()
    with redis.Redis(port=observed.port, username=WORKER, password="wrong") as impostor:
        with pytest.raises(redis.AuthenticationError):
            impostor.ping()
