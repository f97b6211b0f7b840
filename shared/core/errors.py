"""The errors that mean something to the funnel. Any other exception of a handler is retried with backoff."""

from collections.abc import Sequence
from enum import StrEnum

DEEPEST_PLACE = 6
LONGEST_NAME = 60


class ConfigError(Exception):
    """A setting is missing or malformed. Its text is one line that names the variable and the fix."""


class BadInput(ValueError):
    """Input that cannot be accepted. Its text names the field and the fix."""


class PermanentError(Exception):
    """Trying again cannot help: the run is dead at once, with this text."""


class Fenced(Exception):
    """Another attempt owns the run, or a row the run works on. Nothing may be written any more (rules 6 and 7)."""


class LeaseExpired(Fenced):
    """The lease can no longer be trusted on the monotonic clock: no provider call may start (rule 7)."""


class RateLimited(Exception):
    """The provider, or the limiter all workers share, says not now. Costs no attempt."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PauseKind(StrEnum):
    OUTAGE = "outage"  # ends by itself after a probe
    RATE = "rate"  # ends by itself when the provider's reset has passed
    CREDITS = "credits"  # 402: ends by itself after a probe
    CREDENTIALS = "credentials"  # 401/403: after a probe or by a person


class PauseQueue(Exception):
    """The queue's provider cannot serve anybody now: the queue pauses itself, and this run costs no attempt (rule 23)."""

    def __init__(self, kind: PauseKind, message: str, probe_after_s: float = 15.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.probe_after_s = probe_after_s


def place(location: Sequence[object]) -> str:
    """Where in an input a complaint is about, as pydantic locates it, in a short line: names may be anybody's, and deep."""
    names = [str(part) for part in location[:DEEPEST_PLACE]]
    short = [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…" for name in names]
    line = ".".join([*short, *(["…"] if len(location) > DEEPEST_PLACE else [])])
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
