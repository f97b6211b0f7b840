"""A cluster of real processes: servers, providers' sandboxes, schedulers, workers, API, and a link for each pair of
process and server that a test can break.

cluster.start("scheduler")
worker = cluster.start("worker", failpoints="refund.called=kill")
[refund] = cluster.work.refunds(1)
cluster.link("worker-1", "stripe").blackhole("answers")
...
cluster.wait_quiet()
cluster.audit()
"""

import itertools
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from local_stack.auditor import Rest, recorder
from local_stack.ports import free_port
from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from tests.brevo_sandbox import brevo_sandbox
from tests.chaos.rig.audit import audit
from tests.chaos.rig.link import Link, Wires
from tests.chaos.rig.member import Member
from tests.chaos.rig.quiet import wait_quiet
from tests.chaos.rig.work import Work
from tests.e2e.processes import REPOSITORY
from tests.stripe_sandbox import stripe_sandbox

Server = Literal["postgres", "valkey", "stripe", "brevo"]
SERVERS: tuple[Server, ...] = ("postgres", "valkey", "stripe", "brevo")
API_TOKEN = "a-token-of-the-chaos-tests"
STRIPE_SECRET = "whsec_of_the_chaos_tests"
BREVO_TOKEN = "a-webhook-token-of-the-chaos-tests"
#: Shorter than the defaults, so that a row takes seconds; what is measured against the defaults sets its own.
SHORT: Mapping[str, str] = {
    "LEADER_TTL_S": "2",
    "RUN_LEASE_S": "4",
    "REFUNDS_EVERY_S": "1",
    "REMINDERS_EVERY_S": "2",
    "WORKER_GRACE_S": "5",
    "STRIPE_RATE_PER_S": "200",
    "STRIPE_TIMEOUT_S": "3",
    "BREVO_TIMEOUT_S": "3",
}


class Cluster:
    """A context manager; everything ends with it. `postgres` and `valkey` are set where the test may break them."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        redis_url: str,
        *,
        postgres: EmbeddedPostgres | None = None,
        valkey: EmbeddedValkey | None = None,
        stripe: Mapping[str, Any] | None = None,
        brevo: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.database_url, self.redis_url = database_url, redis_url
        self.postgres, self.valkey = postgres, valkey
        self.members: dict[str, Member] = {}
        self._rest: Rest | None = None
        self._env = {**SHORT, **(env or {})}
        self._numbers: dict[str, itertools.count[int]] = {}
        self._links: dict[tuple[str, Server], Link] = {}
        self._ends = ExitStack()
        self._wires = self._ends.enter_context(Wires())
        self.stripe = self._ends.enter_context(
            stripe_sandbox(
                **{"webhook_secret": STRIPE_SECRET, "settle_s": 0.3, "auto": True, **(stripe or {})}
            )
        )
        self.brevo = self._ends.enter_context(
            brevo_sandbox(**{"webhook_token": BREVO_TOKEN, **(brevo or {})})
        )
        load = self._addresses("load")
        self.work = self._ends.enter_context(
            Work(database_url, redis_url, flow_from=(load["DATABASE_URL"], load["REDIS_URL"]))
        )
        with self.work.engine.begin() as connection:
            recorder.install(connection)

    # ------------------------------------------------------------------------------------------------------ processes

    def start(
        self,
        kind: Literal["scheduler", "worker", "api"],
        name: str | None = None,
        *,
        failpoints: str = "",
        env: Mapping[str, str] | None = None,
        module: str = "",
    ) -> Member:
        """A started process; `wait_ready()` returns it when it is ready. Names are `worker-1`, `worker-2` … unless given.
        `module` is what runs in its place: an honest process with, say, dishonest jobs.

        The providers tell their webhooks to the API that was started last.
        """
        name = name or f"{kind}-{next(self._numbers.setdefault(kind, itertools.count(1)))}"
        own = {"API_PORT": str(free_port()), "ENABLE_SCHEDULER": "false"} if kind == "api" else {}
        environment = {
            **self._env,
            **self._addresses(name),
            **own,
            "CUEBX_FAILPOINTS": failpoints,
            **(env or {}),
        }
        member = Member(name, kind, environment, self.directory, 1, module)
        self.members[name] = member
        if kind == "api":
            for sandbox, path in ((self.stripe, "stripe"), (self.brevo, "brevo")):
                url = f"http://127.0.0.1:{environment['API_PORT']}/webhooks/{path}"
                sandbox.control("POST", "webhooks", {"url": url})
        return member

    def restart(self, name: str, *, failpoints: str = "", env: Mapping[str, str] | None = None) -> Member:
        """The same process again, without its failpoints unless given; killed first if it still runs."""
        self.members[name] = self.members[name].next_life({"CUEBX_FAILPOINTS": failpoints, **(env or {})})
        return self.members[name]

    def leader(self) -> Member | None:
        """The scheduler whose term it is, by PostgreSQL's account."""
        rows = self.work.rows(
            "SELECT holder FROM leader_terms WHERE ended_at IS NULL ORDER BY term DESC LIMIT 1"
        )
        return self.member_of(rows[0].holder) if rows else None

    def member_of(self, process_name: str | None) -> Member | None:
        """The member that calls itself so in the ledger (`job_runs.worker`) or in its terms."""
        pid = (process_name or "").rpartition(":")[2]
        return next((each for each in self.members.values() if str(each.pid) == pid), None)

    def cuebx(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The command line, on the servers themselves; its exit status is the caller's to check."""
        env = {
            **self._env,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "PATH": "/usr/bin:/bin",
        }
        return subprocess.run(
            [str(Path(sys.executable).with_name("cuebx")), *arguments],
            cwd=REPOSITORY,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # ---------------------------------------------------------------------------------------------------------- links

    def link(self, member: str, server: Server) -> Link:
        """Between one process, also one that is yet to start, and one server."""
        if (member, server) not in self._links:
            self._links[member, server] = self._wires.link(self._port(server))
        return self._links[member, server]

    def links(self, server: Server) -> list[Link]:
        """Between all processes so far and one server."""
        return [link for (_, each), link in self._links.items() if each == server]

    def _addresses(self, member: str) -> dict[str, str]:
        port = {server: self.link(member, server).port for server in SERVERS}
        return {
            "DATABASE_URL": _at_port(self.database_url, port["postgres"]),
            "REDIS_URL": _at_port(self.redis_url, port["valkey"]),
            "STRIPE_API_BASE_URL": f"http://127.0.0.1:{port['stripe']}",
            "BREVO_BASE_URL": f"http://127.0.0.1:{port['brevo']}/v3",
            "STRIPE_API_KEY": "sk_test_chaos",
            "BREVO_API_KEY": "xkeysib-chaos",
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "BREVO_WEBHOOK_TOKEN": BREVO_TOKEN,
            "API_TOKEN": API_TOKEN,
        }

    def _port(self, server: Server) -> int:
        urls = {
            "postgres": self.database_url,
            "valkey": self.redis_url,
            "stripe": self.stripe.url,
            "brevo": self.brevo.url,
        }
        return urlsplit(urls[server]).port or 0

    # ------------------------------------------------------------------------------------------------------- judgement

    def wait_quiet(self, within_s: float = 60.0) -> None:
        """Returns when all that was accepted before is terminal, or parked for a person. AssertionError names the rest."""
        now = self.work.now()
        wait_quiet(self.work, now, within_s)
        self._rest = Rest(at=now, within_s=within_s)

    def audit(self) -> None:
        """AssertionError names each violation of U L M C T P S that the ledger's history and the providers' books show;
        after `wait_quiet` also what is still open."""
        findings = audit(self.work, self.stripe, self.brevo, self._rest)
        assert not findings, "\n".join(map(str, findings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members.values():
            member.kill()
            # Shown where the test failed.
            sys.stdout.write(f"---- {member.name}, status {member.status}\n{member.output[-6000:]}\n")
        self._ends.close()


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port}"))
