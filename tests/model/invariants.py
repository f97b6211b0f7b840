"""The invariants U L M C T P S, watched at every commit and every step, and judged at the end."""

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from scheduler_svc.rows import decode_state, from_epoch, to_epoch
from scheduler_svc.triggers import make_trigger
from shared.core.decide import UNKNOWN_JOB_DELAY_S
from shared.core.states import LIVE, RunState, may_move
from shared.db.ledger import ClaimedRun, Finished
from tests.model.database import Tx
from tests.model.rules import Violation
from tests.model.runs import RUNS, Run, paused
from tests.model.stores import SCHEDULES, Schedule

if TYPE_CHECKING:
    from tests.model.cluster import Cluster


class Watch:
    """Sees everything, and raises Violation."""

    def __init__(self, cluster: "Cluster") -> None:
        self.cluster = cluster
        self.begun: set[tuple[UUID, int]] = set()
        self.unknown_at: dict[UUID, float] = {}
        #: By schedule: how many of its fires have passed, and how many the ledger stands for.
        self.fires: Counter[str] = Counter()
        self.recorded: Counter[str] = Counter()
        #: By schedule: what it was when it could be read.
        self.readable: dict[str, Any] = {}
        self.keys: dict[tuple[str, str], UUID] = {}
        cluster.postgres.watches.append(self.committed)
        cluster.timers.append(self.leaders)

    # ---------------------------------------------------------------------------------------------- every commit

    def committed(self, tx: Tx, changes: list[tuple[str, Any, Any]]) -> None:
        schedules: set[str] = set()
        #: What a person removes is no longer wanted, and owes nothing.
        removed = {after for table, _, after in changes if table == "removals"}
        for table, before, after in changes:
            if table == RUNS:
                self._run(before, after, schedules)
            elif table == SCHEDULES:
                self._schedule(before, after, schedules, removed, to_epoch(tx.now()))
        for table, _, after in changes:
            if table == "business":
                self._business(after, changes)
        for each in schedules:
            if self.fires[each] != self.recorded[each]:
                more = self.recorded[each] > self.fires[each]
                told = f"schedule {each} fired {self.fires[each]} times, its runs stand for {self.recorded[each]}"
                raise Violation("U" if more else "L", told)

    def _run(self, before: Run | None, after: Run | None, schedules: set[str]) -> None:
        if after is None:
            raise Violation("L", f"{before} has vanished")
        if before is None:
            if after.due_at is not None:
                self.recorded[str(after.schedule_id)] += 1 + after.coalesced
                schedules.add(str(after.schedule_id))
            if after.key is not None and self.keys.setdefault((after.job, after.key), after.id) != after.id:
                raise Violation("U", f"two runs with the key {after.key}")
            return
        if before.state != after.state and not may_move(RunState(before.state), RunState(after.state)):
            raise Violation("C", f"{before} became {after.state}")
        if after.attempt > before.attempt and before.state not in ("pending", "queued"):
            raise Violation("C", f"{before} was claimed under its worker's hands")
        if after.state == "running" and after.overlap == "queue":
            same = (r for r in self._runs() if r.schedule_id == after.schedule_id and r.overlap == "queue")
            if sum(run.state == "running" for run in same) > 1:
                raise Violation("U", f"two runs of {after.schedule_id} at once, whose fires queue up")

    def _schedule(
        self,
        before: Schedule | None,
        after: Schedule | None,
        schedules: set[str],
        removed: set[str],
        now: float,
    ) -> None:
        """Counts the fires that have passed: from the next one that the row had, up to the one that it has."""
        row = before or after
        assert row is not None
        schedules.add(row.id)
        if before is None or before.upcoming is None or row.id in removed:
            return
        unreadable = before.job_state == {}
        if not unreadable:
            self.readable[row.id] = before.job_state
        before = replace(before, job_state=self.readable.get(row.id, {}))
        redefined = after is not None and after.job_state not in (before.job_state, {})
        if after is not None and after.upcoming == before.upcoming:
            return  # a broken row that was mended goes on where it was
        if redefined and unreadable:
            return  # nobody knows what it would have been
        if after is None or redefined or after.upcoming is None:
            # What was due belongs to the old definition (rule 17), all of it.
            self.fires[row.id] += count(before, now, included=True)
            return
        if after.upcoming < before.upcoming:
            raise Violation("U", f"schedule {row.id} moved back: its fires of that time come again")
        self.fires[row.id] += count(before, after.upcoming, included=False)

    def _business(self, after: tuple[UUID, int], changes: list[tuple[str, Any, Any]]) -> None:
        run_id, attempt = after
        run: Run = self.cluster.postgres.tables[RUNS][run_id]
        ended_here = any(table == RUNS and row.id == run_id for table, _, row in changes)
        if run.attempt != attempt or (run.state != "running" and not ended_here):
            raise Violation("C", f"attempt {attempt} wrote a business row of {run}")

    # ------------------------------------------------------------------------------------------- what parts tell

    def outcome(self, run: Run, attempt: int) -> None:
        """An outcome is being written for `run`, by who has `attempt`."""
        if run.state != "running" or run.attempt != attempt:
            raise Violation("C", f"attempt {attempt} wrote the outcome of {run}")
        writer: Any = self.cluster.asking
        if getattr(writer, "attempts", None) is not None and writer.name != run.worker:
            raise Violation("C", f"{writer.name} wrote the outcome of {run}, which {run.worker} is at")

    def began(self, run: ClaimedRun) -> None:
        """A handler begins."""
        row: Run = self.cluster.postgres.tables[RUNS][run.id]
        if row.attempt < run.attempt or (run.id, run.attempt) in self.begun:
            raise Violation("P", f"attempt {run.attempt} of {row} begins uncounted")
        if run.attempt > row.max_attempts:
            raise Violation("P", f"attempt {run.attempt} of {row} is one too many")
        self.begun.add((run.id, run.attempt))

    def calls(self, run: ClaimedRun) -> None:
        """A provider is about to be called."""
        row: Run = self.cluster.postgres.tables[RUNS][run.id]
        if row.state != "running" or row.attempt != run.attempt:
            raise Violation(
                "M", f"attempt {run.attempt} of {row} calls the provider, though the run has passed on"
            )

    def given_up(self, finished: Finished) -> None:
        """A worker drops an outcome."""
        row: Run = self.cluster.postgres.tables[RUNS][finished.run_id]
        if row.state == "running" and row.attempt == finished.attempt:
            raise Violation("L", f"the outcome of {row} is dropped, and nobody took the run away")

    def unknown(self, run: ClaimedRun) -> None:
        """A worker met a job that it does not know."""
        now = self.cluster.now
        if now - self.unknown_at.get(run.id, float("-inf")) < UNKNOWN_JOB_DELAY_S / 2:
            raise Violation("T", f"run {run.id.int} is thrown to and fro between workers that do not know it")
        self.unknown_at[run.id] = now

    def judged(self, run: Run) -> None:
        """The sweeper takes a run away from its worker."""
        worker: Any = self.cluster.processes.get(str(run.worker))
        if worker is None or not worker.alive or worker.ill_at > self.cluster.now - 12.0:
            return
        if worker.attempts.find(run.id, run.attempt) is not None:
            raise Violation("T", f"{run} was taken away from {worker.name}, which is well")

    # ---------------------------------------------------------------------------------------------- as time passes

    def leaders(self) -> None:
        """The lock spares work: while Redis remembers it, one process trusts that it leads."""
        trusting = [process.name for process in self.cluster.processes.values() if process.trusts()]
        if len(trusting) > 1 and self.cluster.now - self.cluster.redis.forgot_at > 10.0:
            raise Violation("T", f"{' and '.join(trusting)} trust at once that they lead")

    # ------------------------------------------------------------------------------------------------------- the end

    def _runs(self) -> list[Run]:
        return list(self.cluster.postgres.tables[RUNS].values())

    def owed(self, since: float) -> list[str]:
        """What there was at `since` (true time), or came due, and is not settled: terminal, or held by a pause."""
        tx_free = _Committed(self.cluster)
        epoch = to_epoch(self.cluster.postgres.now()) - (self.cluster.now - since)
        late = [
            str(run)
            for run in self._runs()
            if run.state in LIVE and to_epoch(run.enqueued_at) <= epoch and not paused(tx_free, run)
        ]
        for row in self.cluster.postgres.tables[SCHEDULES].values():
            if row.next_run_time is not None and row.next_run_time <= epoch:
                late.append(f"schedule {row.id} has not fired since {from_epoch(row.next_run_time)}")
        return late

    def at_the_end(self) -> None:
        """L, P and S over what is left."""
        for run in self._runs():
            if run.job == "poison" and run.state == "succeeded":
                raise Violation("P", f"{run} cannot have succeeded")
        totals: defaultdict[str, int] = defaultdict(int)
        for run in self._runs():
            if run.due_at is not None:
                totals[str(run.schedule_id)] += 1 + run.coalesced
        if dict(totals) != {name: n for name, n in self.recorded.items() if n}:
            raise Violation("U", f"fires do not add up: {dict(totals)}, {dict(self.recorded)}")


class _Committed:
    """As a transaction that only reads."""

    def __init__(self, cluster: "Cluster") -> None:
        self.database = cluster.postgres

    def get(self, table: str, key: Any) -> Any:
        return self.database.tables[table].get(key)


def count(row: Schedule, until: float, *, included: bool) -> int:
    """How many times a schedule fires from its next fire until an instant."""
    try:
        trigger = make_trigger(decode_state(row.job_state).trigger)
    except Exception:  # it is broken on purpose
        return 0
    fires, fire = 0, None if row.upcoming is None else from_epoch(row.upcoming)
    while fire is not None and (to_epoch(fire) < until or (included and to_epoch(fire) == until)):
        fires, fire = fires + 1, trigger.after(fire)
    return fires
