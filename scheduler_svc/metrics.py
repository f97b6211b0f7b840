"""What a scheduler counts."""

from prometheus_client import Counter, Gauge

FIRES = Counter("cuebx_fires", "Fires of schedules, coalesced ones included.")
SKIPPED = Counter("cuebx_runs_skipped", "Runs that policy dropped when their schedule fired.")
BROKEN = Counter("cuebx_schedules_broken", "Schedule rows found unreadable.")
RELAYED = Counter("cuebx_runs_relayed", "Runs pushed to Redis by the relay.")
SWEPT = Counter("cuebx_runs_swept", "What the sweeper put back.", ["what"])
LEADER = Gauge("cuebx_leader", "1 while this process leads.")
TERM = Gauge("cuebx_leader_term", "The number of this process's latest term.")
