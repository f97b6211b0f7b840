"""The fault matrix: what is done to the system, and which invariants of docs/protocol.md must hold."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Row(NamedTuple):
    fault: str
    holds: str


MATRIX: Final[Mapping[int, Row]] = {
    1: Row("leader killed before it commits a fire", "U L T"),
    2: Row("leader killed after the commit, before the push", "L"),
    3: Row("leader killed after the push, before it is recorded", "U"),
    4: Row("leader stopped beyond its TTL, then continued", "U"),
    5: Row("leader's event loop stalls", "U T"),
    6: Row("one host's wall clock is an hour off", "U L T"),
    7: Row("two leaders at once", "U"),
    8: Row("Redis loses all data", "L T"),
    9: Row("Redis comes back with an old snapshot", "U M C"),
    10: Row("Redis unreachable for 30 s", "L T"),
    11: Row("Redis full, or set to evict", "L"),
    12: Row("PostgreSQL restarted under load", "L C T"),
    13: Row("PostgreSQL away before a provider call", "M"),
    14: Row("PostgreSQL away after the provider's success", "M"),
    15: Row("worker killed before a provider call", "T"),
    16: Row("worker killed after the call, before the commit", "M"),
    17: Row("SIGTERM in the middle of a job", "M L"),
    18: Row("worker stopped beyond its lease, then continued", "C M"),
    19: Row("Stripe: 500, no answer after success, dropped connection", "M"),
    20: Row("Stripe: 409, 429", "L"),
    21: Row("Stripe refuses a refund, or it fails days later", "M L"),
    22: Row("Brevo accepts and does not answer", "M"),
    23: Row("Brevo: 429, 402, 401", "L"),
    24: Row("webhooks lost, doubled, out of order", "M L"),
    25: Row("poison: raises, never ends, eats memory, kills its worker", "P"),
    26: Row("corrupt, unknown or oversize message or schedule row", "S L"),
    27: Row("enqueued twice; schedule edited or removed as it fires", "U M"),
    28: Row("clock change in a schedule's own zone; a late fire", "U L"),
    29: Row("100,000 schedules due in one second", "L T"),
    30: Row("disk full; connection pool exhausted", "L T"),
    31: Row("old and new workers side by side", "L S"),
}
