"""Every Redis key and channel there is. All of it may be lost: nothing here is the truth."""

from typing import Final

PREFIX: Final = "cuebx:"

#: String, the leader's random token, expires after LEADER_TTL_S.
LEADER: Final = PREFIX + "leader"
#: Channel: the leader has left, a standby may take over at once.
LEADER_CHANNEL: Final = PREFIX + "leader:released"
#: Channel: somebody edited schedules ("schedules") or wants the relay ("relay").
NOTICES: Final = PREFIX + "notices"
#: String, a counter that PostgreSQL has a copy of: an older or missing one means that Redis forgot (rule 14).
MARKER: Final = PREFIX + "marker"
#: List of what could not be read as a message: parked, never deleted (invariant S); and of the keys under this one, which
#: somebody had used for something else (`strangers.py`).
PARKED: Final = PREFIX + "parked"
#: Prefix of the shared rate limiter's keys.
LIMIT: Final = PREFIX + "limit:"


def queue(name: str) -> str:
    """Sorted set of `run id:attempt`, scored by priority."""
    return f"{PREFIX}queue:{name}"


def taken(name: str) -> str:
    """Sorted set of messages a worker took and the ledger has not answered for yet, scored by Redis's own time."""
    return f"{PREFIX}queue:{name}:taken"


def wake(name: str) -> str:
    """List of wake-up tokens, at most one: a waiting worker pops it."""
    return f"{PREFIX}queue:{name}:wake"


def process(kind: str, name: str) -> str:
    """Hash that a live process keeps about itself, expires after a few heartbeats."""
    return f"{PREFIX}process:{kind}:{name}"
