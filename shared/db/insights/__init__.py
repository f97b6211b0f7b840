"""What people ask about the ledger, read-only: one query service behind the command line and the API.

Each function takes an open connection or session. The live states and the dead have indexes of their own, so that no
answer costs more as history grows; what ended well is counted over the last hour only. `shared.queue.insights` has what
Redis knows.
"""

from shared.db.insights.overview import (
    OVERDUE_S,
    LedgerSummary,
    TermView,
    broken_schedules,
    latest_term,
    summary,
)
from shared.db.insights.queues import QueueView, list_queues
from shared.db.insights.runs import AuditView, RunView, audit_of, list_runs, recent_runs, show_run

__all__ = [
    "OVERDUE_S",
    "AuditView",
    "LedgerSummary",
    "QueueView",
    "RunView",
    "TermView",
    "audit_of",
    "broken_schedules",
    "latest_term",
    "list_queues",
    "list_runs",
    "recent_runs",
    "show_run",
    "summary",
]
