"""Carries out the faults of a plan, and heals everything at the end."""

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.queue import keys
from tests.brevo_sandbox import BrevoSandbox
from tests.chaos.rig.cluster import SERVERS, Cluster, Server
from tests.chaos.rig.link import Link
from tests.chaos.rig.member import Member
from tests.chaos.storm.diary import Diary
from tests.chaos.storm.fault_plan import LEADER, MEMBERS
from tests.chaos.storm.plan import Step
from tests.stripe_sandbox import StripeSandbox


class Faults:
    """For one thread. A fault that has nothing to hurt (no leader, a process that is dead already) is noted as failed."""

    def __init__(self, cluster: Cluster, diary: Diary) -> None:
        assert cluster.postgres is not None
        assert cluster.valkey is not None
        self._cluster = cluster
        self._diary = diary
        self._postgres: EmbeddedPostgres = cluster.postgres
        self._valkey: EmbeddedValkey = cluster.valkey
        self._copy = self._valkey.data_dir.with_name("valkey-copy")
        self._armed: set[str] = set()
        self._acts: Mapping[str, Callable[..., str]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "start": self._start,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "arm": self._arm,
            "disarm": self._disarm,
            "break link": self._break_link,
            "heal link": self._heal_link,
            "stop postgres": self._stop_postgres,
            "start postgres": self._start_postgres,
            "stop valkey": self._stop_valkey,
            "start valkey": self._start_valkey,
            "copy valkey": self._copy_valkey,
            "flush valkey": self._flush_valkey,
            "drop leader lock": self._drop_leader_lock,
            "misbehave": self._misbehave,
            "webhooks": self._webhooks,
        }

    def do(self, step: Step) -> None:
        try:
            said = self._acts[step.kind](**step.params)
        except Exception as error:
            self._diary.note(
                "fault", step.kind, f"{step.params}: {type(error).__name__}: {error}", failed=True
            )
        else:
            self._diary.note("fault", step.kind, said)

    def heal(self) -> None:
        """Everything runs, can be reached, and behaves; nothing lies in wait."""
        for name in MEMBERS:
            for server in SERVERS:
                self._cluster.link(name, server).heal()
        self._start_postgres()
        self._valkey.start()
        for provider in ("stripe", "brevo"):
            self._sandbox(provider).clear_faults()
            self._webhooks(provider, enabled=True, duplicate=0, disorder_s=0)
        for member in list(self._cluster.members.values()):
            member.send(signal.SIGCONT)
            if member.status is not None or member.name in self._armed:
                self._cluster.restart(member.name)
        self._armed.clear()
        self._diary.note("fault", "calm")

    # ------------------------------------------------------------------------------------------------------ processes

    def _member(self, name: str) -> Member:
        member = self._cluster.leader() if name == LEADER else self._cluster.members[name]
        if member is None or member.status is not None:
            raise LookupError(f"{name} does not run")
        return member

    def _kill(self, name: str) -> str:
        member = self._member(name)
        member.kill()
        return _named(name, member)

    def _terminate(self, name: str) -> str:
        member = self._member(name)
        member.send(signal.SIGTERM)
        return _named(name, member)

    def _start(self, name: str) -> str:
        """The process, or all that have ended where it was meant for whoever led."""
        names = [name] if name != LEADER else list(self._cluster.members)
        dead = [each for each in names if self._cluster.members[each].status is not None]
        for each in dead:
            self._cluster.restart(each)
            self._armed.discard(each)
        return ", ".join(dead) or "nobody was gone"

    def _freeze(self, name: str) -> str:
        member = self._member(name)
        member.send(signal.SIGSTOP)
        return _named(name, member)

    def _thaw(self, name: str) -> str:
        names = [name] if name != LEADER else list(self._cluster.members)
        for each in names:
            self._cluster.members[each].send(signal.SIGCONT)
        return name

    def _arm(self, name: str, failpoint: str) -> str:
        self._cluster.restart(name, failpoints=failpoint)
        self._armed.add(name)
        return f"{name}: {failpoint}"

    def _disarm(self, name: str) -> str:
        struck = self._cluster.members[name].events("failpoint_struck")
        self._cluster.restart(name)
        self._armed.discard(name)
        return f"{name}, struck {len(struck)} times"

    # ---------------------------------------------------------------------------------------------------------- links

    def _links(self, name: str, server: Server) -> list[Link]:
        return [self._cluster.link(each, server) for each in (MEMBERS if name == "all" else (name,))]

    def _break_link(self, name: str, server: Server, how: str) -> str:
        verb, _, rest = how.partition(" ")
        for link in self._links(name, server):
            match verb:
                case "cut":
                    link.cut()
                case "blackhole":
                    link.blackhole(rest or "both")  # type: ignore[arg-type]  # as drawn: requests or answers
                case "delay":
                    link.delay(float(rest))
                case "reset":
                    link.reset_connections()
                case "half_close":
                    link.half_close()
        return f"{name} - {server}: {how}"

    def _heal_link(self, name: str, server: Server) -> str:
        for link in self._links(name, server):
            link.heal()
        return f"{name} - {server}"

    # -------------------------------------------------------------------------------------------------------- servers

    def _stop_postgres(self, how: str) -> str:
        self._cluster.work.engine.dispose()
        self._postgres.kill() if how == "kill" else self._postgres.stop(how)  # type: ignore[arg-type]  # as drawn
        return how

    def _start_postgres(self) -> str:
        self._postgres.start()
        return ""

    def _stop_valkey(self, how: str) -> str:
        self._valkey.kill() if how == "kill" else self._valkey.stop()
        return how

    def _start_valkey(self, data: str) -> str:
        if self._valkey.running:
            raise LookupError("it runs")
        if data != "kept":
            shutil.rmtree(self._valkey.data_dir)
        if data == "old" and self._copy.exists():
            _copy(self._copy, self._valkey.data_dir)
        self._valkey.start()
        return data

    def _copy_valkey(self) -> str:
        """What a later start may come back with."""
        if self._valkey.running:
            with redis.Redis.from_url(self._valkey.url) as client:
                client.execute_command("BGREWRITEAOF")
        with suppress(FileNotFoundError):
            shutil.rmtree(self._copy)
        _copy(self._valkey.data_dir, self._copy)
        return ""

    def _flush_valkey(self) -> str:
        with redis.Redis.from_url(self._valkey.url, socket_timeout=2) as client:
            client.flushall()
        return ""

    def _drop_leader_lock(self) -> str:
        with redis.Redis.from_url(self._valkey.url, socket_timeout=2) as client:
            return f"{client.delete(keys.LEADER)} deleted"

    # ------------------------------------------------------------------------------------------------------ providers

    def _sandbox(self, provider: str) -> StripeSandbox | BrevoSandbox:
        return self._cluster.stripe if provider == "stripe" else self._cluster.brevo

    def _misbehave(self, provider: str, match: dict[str, str], mode: str, **spec: Any) -> str:
        self._sandbox(provider).fault(mode, match=match, **spec)
        return f"{provider}: {mode} {spec}"

    def _webhooks(self, provider: str, **settings: Any) -> str:
        self._sandbox(provider).control("POST", "webhooks", settings)
        return f"{provider}: {settings}"


def _copy(source: Path, target: Path) -> None:
    """With its owner: started by root, the server is somebody else."""

    def copy(one: str, other: str) -> str:
        shutil.copy2(one, other)
        os.chown(other, os.stat(one).st_uid, os.stat(one).st_gid)
        return other

    try:
        shutil.copytree(source, target, copy_function=copy, ignore=shutil.ignore_patterns("temp-*"))
        for directory, _, _ in os.walk(target):
            owner = (source / Path(directory).relative_to(target)).stat()
            os.chown(directory, owner.st_uid, owner.st_gid)
    except OSError:  # the server removed a file meanwhile
        shutil.rmtree(target, ignore_errors=True)
        raise


def _named(name: str, member: Member) -> str:
    return f"{member.name} ({name})" if name != member.name else name
