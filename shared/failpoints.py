"""Failpoints: places between two steps where a test can have a process killed, stopped, stalled or made to fail.

CUEBX_FAILPOINTS="fire.committed=kill; stripe.answered=stop@3; relay.before_push=stall:5@2+"

An entry strikes once, when its process passes the point for the first time, or for the n-th with `@n`; with `@n+` each
time from the n-th on. Where nothing is armed a point costs one look at an empty tuple. Production refuses the variable.
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Final

import structlog

log = structlog.get_logger(__name__)


class Point(StrEnum):
    """Every failpoint, by the service that passes it."""

    LEADER_ACQUIRED = "leader.acquired"  # the lock is ours, the term has no number yet
    LEADER_RENEWING = "leader.renewing"  # in the renewal thread, before the lock is asked for again
    FIRE_BEFORE_COMMIT = (
        "fire.before_commit"  # runs and advance are written and the trust is checked: now it commits
    )
    FIRE_COMMITTED = "fire.committed"  # in the firing thread, before the relay hears of the runs
    RELAY_BEFORE_PUSH = "relay.before_push"  # on the event loop: runs were picked, Redis has none of them
    RELAY_PUSHED = "relay.pushed"  # Redis has the messages, the ledger still says pending
    SWEEP_BEFORE_COMMIT = (
        "sweep.before_commit"  # lost leases were decided about in a transaction that is open
    )
    CLAIM_TAKEN = "claim.taken"  # the messages are out of the queue, nothing is claimed
    CLAIM_COMMITTED = "claim.committed"  # the runs are this worker's and have not begun
    RUN_DECIDED = "run.decided"  # the handler has made its last write, the outcome is not recorded
    DRAIN_HANDING_BACK = "drain.handing_back"  # the grace is over, what still runs is not handed back
    STRIPE_BEFORE_CALL = "stripe.before_call"  # the refund's attempt is committed, Stripe has not heard of it
    STRIPE_ANSWERED = "stripe.answered"  # Stripe has made the refund, nothing of it is written
    BREVO_BEFORE_CALL = "brevo.before_call"  # the batch's call is committed, Brevo has not heard of it
    BREVO_ANSWERED = "brevo.answered"  # Brevo has accepted the batch, nothing of it is written
    ENQUEUE_COMMITTED = "enqueue.committed"  # runs enqueued on demand are committed and not pushed
    WEBHOOK_STORED = "webhook.stored"  # an event and its run are committed, the provider has no answer


class FailpointError(Exception):
    """What the action `error` raises."""


def _send_this_thread(signum: signal.Signals) -> None:
    # Both end or stop the whole process. Sent to this thread they do so before its next line, not soon after it.
    signal.pthread_kill(threading.get_ident(), signum)


def _raise(point: str) -> None:
    raise FailpointError(f"failpoint {point}")


#: Each is called with the point and the seconds.
ACTIONS: Final[Mapping[str, Callable[[str, float], None]]] = {
    "kill": lambda _, __: _send_this_thread(signal.SIGKILL),
    "stop": lambda _, __: _send_this_thread(signal.SIGSTOP),
    "stall": lambda _, seconds: time.sleep(seconds),  # the whole event loop, where the point is on it
    "error": lambda point, _: _raise(point),
}
#: This one takes seconds, the others none.
_TIMED: Final = "stall"
_ENTRY: Final = re.compile(r"([a-z._]+)=([a-z]+)(?::(\d+(?:\.\d+)?))?(?:@([1-9]\d*)(\+?))?")


@dataclass(frozen=True, slots=True)
class Failpoint:
    """One entry. `nth` counts from 1; `onwards`: then, and each time after."""

    point: Point
    action: str
    seconds: float = 0.0
    nth: int = 1
    onwards: bool = False
    _passes: Iterator[int] = field(default_factory=lambda: count(1), compare=False, repr=False)

    def is_due(self) -> bool:
        """Counts a pass: whether this is the one."""
        passes = next(self._passes)  # atomic: threads may pass a point together
        return passes == self.nth or (self.onwards and passes > self.nth)

    def strike(self) -> None:
        # Handlers of logs flush each line: it is out when the signal strikes.
        log.warning("failpoint_struck", name=self.point.value, action=self.action)
        ACTIONS[self.action](self.point.value, self.seconds)


def parse_failpoints(text: str) -> tuple[Failpoint, ...]:
    """The entries of CUEBX_FAILPOINTS. Raises ValueError, in words that complete the variable's name."""
    return tuple(_parse(entry.strip()) for entry in text.split(";") if entry.strip())


def _parse(entry: str) -> Failpoint:
    matched = _ENTRY.fullmatch(entry)
    if matched is None:
        raise ValueError(
            f"{entry!r} is no failpoint; it looks like fire.committed=kill or relay.pushed=stall:5@2"
        )
    name, action, seconds, nth, onwards = matched.groups()
    if name not in set(Point):
        raise ValueError(f"{name!r} is no point; there are {', '.join(Point)}")
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is no action; there are {', '.join(ACTIONS)}")
    if (action == _TIMED) is (seconds is None):
        raise ValueError(f"{entry!r}: stall needs seconds, as in stall:5, and the others take none")
    return Failpoint(Point(name), action, float(seconds or 0), int(nth or 1), bool(onwards))


_armed: tuple[Failpoint, ...] = ()


def arm(failpoints: Sequence[Failpoint]) -> None:
    """From now on these strike in this process, and no others."""
    global _armed
    _armed = tuple(failpoints)
    if _armed:
        log.warning("failpoints_armed", failpoints=[f"{each.point}={each.action}" for each in _armed])


def failpoint(point: Point) -> None:
    """The one call in product code. Does nothing, unless a test armed this point."""
    if _armed:
        for each in [each for each in _armed if each.point is point and each.is_due()]:
            each.strike()
