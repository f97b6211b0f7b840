"""What was done to the system, and when: for the timeline of a failure and the table of a success."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """`lane`: fault or work. `failed`: it could not be done, or was not answered."""

    at: datetime
    lane: str
    kind: str
    says: str
    failed: bool = False


@dataclass
class Diary:
    """For several threads."""

    entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, lane: str, kind: str, says: str = "", *, failed: bool = False) -> None:
        with self._lock:
            self.entries.append(Entry(datetime.now(UTC), lane, kind, says, failed))

    def counts(self, lane: str) -> Counter[str]:
        """How often each kind was done."""
        return Counter(e.kind for e in list(self.entries) if e.lane == lane and not e.failed)

    def unanswered(self) -> int:
        return sum(entry.failed for entry in list(self.entries) if entry.lane == "work")
