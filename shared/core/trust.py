"""How long a leader may trust itself (rule 16), as a pure function of monotonic instants.

A lock in Redis is granted for TTL seconds, counted by Redis from some moment between the start of the attempt and its
answer. A holder that counts from the *start* of the attempt, and stops a margin early, is never the last to know.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Grant(Enum):
    """What Redis said to a renewal."""

    RENEWED = auto()
    REFUSED = auto()  # somebody else holds the lock, or nobody: Redis may have forgotten
    UNKNOWN = auto()  # no answer in time


class Step(Enum):
    """What the renewing thread does next."""

    RENEW = auto()
    WAIT = auto()
    STEP_DOWN = auto()


@dataclass(frozen=True, slots=True)
class Trust:
    """Since when the lock is known to be ours: all instants are seconds on the monotonic clock."""

    ttl_s: float
    granted_at: float  # when the last attempt that was granted had started

    @property
    def until(self) -> float:
        return self.granted_at + self.ttl_s - margin_s(self.ttl_s)

    def holds(self, now: float) -> bool:
        return now < self.until

    def after_attempt(self, grant: Grant, started_at: float) -> "Trust":
        """A grant moves the deadline, an attempt without answer leaves it, a refusal ends the trust."""
        match grant:
            case Grant.RENEWED:
                return Trust(self.ttl_s, started_at)
            case Grant.UNKNOWN:
                return self
            case Grant.REFUSED:
                return Trust(self.ttl_s, float("-inf"))

    def step(self, now: float, loop_ticked_at: float, attempted_at: float) -> Step:
        """`attempted_at`: when the last attempt, granted or not, had started.

        While the event loop is stalled nothing is renewed: what leads must be able to work. Attempts without answer are
        repeated faster than granted ones.
        """
        if not self.holds(now):
            return Step.STEP_DOWN
        if now - loop_ticked_at > self.ttl_s / 3:
            return Step.WAIT
        answered = attempted_at <= self.granted_at
        pause = renew_every_s(self.ttl_s) if answered else renew_every_s(self.ttl_s) / 4
        return Step.RENEW if now - attempted_at >= pause else Step.WAIT


def renew_every_s(ttl_s: float) -> float:
    return ttl_s / 4


def margin_s(ttl_s: float) -> float:
    return ttl_s / 6


def attempt_timeout_s(ttl_s: float) -> float:
    return min(0.5, ttl_s / 4)
