"""Proves the invariants U L M C T P S (docs/protocol.md) from outside: the database against the providers' own books, and both
against what the caller knows. No code of the scheduler, the workers or the API takes part.

    with snapshot(engine) as connection:
        findings = audit(connection, stripe=books, brevo=books, known=Known(...), rest=Rest(at=calm))
    report(findings)

`recorder.install` makes the proof of C, and of schedules that were edited or removed, complete.
"""

from local_stack.auditor.auditor import audit, snapshot
from local_stack.auditor.findings import INVARIANTS, Finding, Invariant, report
from local_stack.auditor.known import Accepted, Books, Known, Rest

__all__ = [
    "INVARIANTS",
    "Accepted",
    "Books",
    "Finding",
    "Invariant",
    "Known",
    "Rest",
    "audit",
    "report",
    "snapshot",
]
