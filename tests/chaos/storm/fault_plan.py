"""The faults there are, and how often each comes: to processes, links, servers and providers."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.chaos.rig.cluster import SERVERS

SCHEDULERS = ("scheduler-1", "scheduler-2", "scheduler-3")
WORKERS = ("worker-1", "worker-2", "worker-3")
APIS = ("api-1", "api-2")
MEMBERS = (*SCHEDULERS, *WORKERS, *APIS)
#: A process by what it does at that moment; who that is shows when the step comes.
LEADER = "leader"

#: Steps that end a fault.
MENDS = frozenset({"start", "thaw", "disarm", "heal link", "start postgres", "start valkey", "calm"})

#: What a step does, and after how many seconds.
Drawn = tuple[float, str, dict[str, Any]]

#: Points of `shared/failpoints.py`, by the process that passes them.
_POINTS = {
    "scheduler": (
        *("leader.acquired", "leader.renewing", "fire.before_commit", "fire.committed"),
        *("relay.before_push", "relay.pushed", "sweep.before_commit"),
    ),
    "worker": (
        *("claim.taken", "claim.committed", "run.decided", "drain.handing_back", "enqueue.committed"),
        *("stripe.before_call", "stripe.answered", "brevo.before_call", "brevo.answered"),
    ),
    "api": ("enqueue.committed", "webhook.stored"),
}
_CREATE = {"method": "POST", "path": "/v1/refunds"}
_SEND = {"method": "POST", "path": "/v3/smtp/email"}

_MISBEHAVIOURS: Sequence[dict[str, Any]] = (
    {"mode": "status", "status": 500, "saved": False},
    {"mode": "status", "status": 500, "commit": True},
    {"mode": "status", "status": 503},
    {"mode": "drop_before"},
    {"mode": "drop_after"},
    {"mode": "drop_after"},
    {"mode": "rate_limit"},
    {"mode": "delay", "delay_s": 1},
    {"mode": "delay", "delay_s": 5},
)


def draw(rand: Random) -> Sequence[Drawn]:
    """One fault and, where it lasts, its end."""
    [make] = rand.choices([make for make, _ in _FAULTS], [weight for _, weight in _FAULTS])
    return make(rand)


def _member(rand: Random) -> str:
    return LEADER if rand.random() < 0.25 else rand.choice(MEMBERS)


def _kill(rand: Random) -> Sequence[Drawn]:
    name = _member(rand)
    return [(0, "kill", {"name": name}), (rand.uniform(0.1, 3), "start", {"name": name})]


def _terminate(rand: Random) -> Sequence[Drawn]:
    name = _member(rand)
    return [(0, "terminate", {"name": name}), (rand.uniform(0.2, 6), "start", {"name": name})]


def _freeze(rand: Random) -> Sequence[Drawn]:
    """From a moment to far beyond leadership and leases."""
    name = _member(rand)
    return [(0, "freeze", {"name": name}), (rand.choice([0.3, 1.5, 3, 6, 10]), "thaw", {"name": name})]


def _fail_at(rand: Random) -> Sequence[Drawn]:
    """A process starts again with a failpoint, and without one later. What stopped goes on first: by then it is late."""
    name = rand.choice((*SCHEDULERS, *WORKERS, *WORKERS, *APIS))
    point = rand.choice(_POINTS[name.partition("-")[0]])
    action = rand.choice(["kill", "kill", "stop", "stop", "stall:6", "stall:1", "error"])
    failpoint = f"{point}={action}@{rand.choice([1, 1, 2, 5, 20])}"
    lasts_s = rand.uniform(8, 16)
    return [
        (0, "arm", {"name": name, "failpoint": failpoint}),
        (lasts_s - 2, "thaw", {"name": name}),
        (lasts_s, "disarm", {"name": name}),
    ]


def _break_link(rand: Random) -> Sequence[Drawn]:
    name, server = rand.choice(MEMBERS), rand.choice(SERVERS)
    how = rand.choice(
        ["cut", "blackhole", "blackhole requests", "blackhole answers", "delay 0.1", "delay 1.5"]
    )
    return _link(rand, name, server, how)


def _break_all_links(rand: Random) -> Sequence[Drawn]:
    return _link(rand, "all", rand.choice(SERVERS), rand.choice(["cut", "blackhole", "delay 0.3"]))


def _link(rand: Random, name: str, server: str, how: str) -> Sequence[Drawn]:
    where = {"name": name, "server": server}
    return [(0, "break link", {**where, "how": how}), (rand.choice([0.5, 2, 6, 10]), "heal link", where)]


def _reset_link(rand: Random) -> Sequence[Drawn]:
    where = {"name": rand.choice(MEMBERS), "server": rand.choice(SERVERS)}
    return [(0, "break link", {**where, "how": rand.choice(["reset", "half_close"])})]


def _stop_postgres(rand: Random) -> Sequence[Drawn]:
    how = rand.choice(["kill", "fast", "immediate"])
    return [(0, "stop postgres", {"how": how}), (rand.choice([0, 1, 4]), "start postgres", {})]


def _stop_valkey(rand: Random) -> Sequence[Drawn]:
    return [
        (0, "stop valkey", {"how": rand.choice(["kill", "stop"])}),
        (rand.choice([0, 1, 4]), "start valkey", {"data": rand.choice(["kept", "empty", "old"])}),
    ]


def _copy_valkey(_: Random) -> Sequence[Drawn]:
    return [(0, "copy valkey", {})]


def _flush_valkey(_: Random) -> Sequence[Drawn]:
    return [(0, "flush valkey", {})]


def _drop_lock(_: Random) -> Sequence[Drawn]:
    """As after a failover of Redis: two may believe that they lead."""
    return [(0, "drop leader lock", {})]


def _provider(rand: Random) -> Sequence[Drawn]:
    """The next few calls that cost something go wrong; or any, with some probability, for a while."""
    name, match = rand.choice([("stripe", _CREATE), ("brevo", _SEND), ("stripe", {}), ("brevo", {})])
    fault = dict(rand.choice(_MISBEHAVIOURS))
    if name == "brevo":
        fault.pop("saved", None)
    times = rand.choice([1, 2, 5])
    return [(0, "misbehave", {"provider": name, "match": match, "times": times, **fault})]


def _webhooks(rand: Random) -> Sequence[Drawn]:
    name = rand.choice(["stripe", "brevo"])
    how: dict[str, Any] = rand.choice([{"enabled": False}, {"duplicate": 0.7}, {"disorder_s": 2}])
    well = {"enabled": True, "duplicate": 0, "disorder_s": 0}
    lasts_s = rand.uniform(3, 12)
    return [(0, "webhooks", {"provider": name, **how}), (lasts_s, "webhooks", {"provider": name, **well})]


_FAULTS: Sequence[tuple[Callable[[Random], Sequence[Drawn]], int]] = (
    (_kill, 20),
    (_terminate, 10),
    (_freeze, 16),
    (_fail_at, 16),
    (_break_link, 16),
    (_break_all_links, 4),
    (_reset_link, 6),
    (_stop_postgres, 4),
    (_stop_valkey, 5),
    (_copy_valkey, 4),
    (_flush_valkey, 3),
    (_drop_lock, 3),
    (_provider, 18),
    (_webhooks, 4),
)
