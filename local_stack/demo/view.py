"""What a person sees of the demo: bars, depths, who leads, what was killed; at the end a table."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from local_stack.demo.audit import Audit
from local_stack.demo.state import State

LINE_EVERY_S = 2.0
KEPT_NEWS = 8


class View:
    """On a terminal a picture that renews itself; elsewhere a line every two seconds. Writes to standard error."""

    def __init__(self, *, refunds: int, reminders: int) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<10}"), BarColumn(40), MofNCompleteColumn(), console=self._console
        )
        self._refunds = self._progress.add_task("refunds", total=refunds)
        self._reminders = self._progress.add_task("reminders", total=reminders)
        self._totals = (refunds, reminders)
        self._news: list[str] = []
        self._began = time.monotonic()
        self._line_at = 0.0
        self._state: State | None = None
        self._live = Live(console=self._console, refresh_per_second=10, get_renderable=self._picture)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def news(self, text: str) -> None:
        """Something happened."""
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        self._news = [*self._news[-KEPT_NEWS + 1 :], line]
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)

    def show(self, state: State) -> None:
        """The state of this moment."""
        self._state = state
        self._progress.update(self._refunds, completed=state.refunds_done)
        self._progress.update(self._reminders, completed=state.reminders_sent)
        if not self._console.is_terminal and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._line_at = time.monotonic()
            refunds, reminders = self._totals
            self.news(
                f"refunds {state.refunds_done}/{refunds}, reminders {state.reminders_sent}/{reminders}, {_depths(state)}"
            )

    def _picture(self) -> Group:
        status = "starting" if self._state is None else f"{_depths(self._state)}, {_leader(self._state)}"
        return Group(self._progress, Text(status, style="dim"), *(Text(line) for line in self._news))


def table(
    audit: Audit, *, refunds_due: int, reminders_due: int, failover_s: float | None, elapsed_s: float
) -> Table:
    """The result, for a person."""
    result = Table(title="Books and database", title_justify="left")
    for column in ("", "due", "done", "refused", "parked", "twice"):
        result.add_column(column, justify="left" if not column else "right")
    refunds, reminders = audit.refunds, audit.reminders
    result.add_row(
        "refunds",
        *map(str, (refunds_due, refunds["succeeded"], refunds["failed"], refunds["needs_review"])),
        str(audit.refunds_doubled),
    )
    result.add_row(
        "reminders",
        *map(str, (reminders_due, reminders["sent"], reminders["failed"], reminders["needs_review"])),
        str(audit.reminders_doubled),
    )
    paid = ", ".join(f"{amount} {currency}" for currency, amount in sorted(audit.paid.items()))
    failover = "-" if failover_s is None else f"{failover_s:.2f} s"
    result.caption = (
        f"paid, in minor units: {paid or 'nothing'}\n"
        f"leader killed with -9, next fire running after {failover}; all in {elapsed_s:.1f} s"
    )
    result.caption_justify = "left"
    return result


def print_result(result: Table, findings: Sequence[str]) -> None:
    """The table, then what does not agree."""
    console = Console(file=sys.stderr, highlight=False)
    console.print(result)
    for finding in findings[:20]:
        console.print(f"[red]✗[/red] {finding}")
    if len(findings) > 20:
        console.print(f"[red]✗[/red] and {len(findings) - 20} more")
    if not findings:
        console.print("[green]✓[/green] books and database agree, to the cent and to the e-mail")


def _depths(state: State) -> str:
    return (
        f"waiting: {state.refunds_waiting} refunds, {state.reminders_waiting} reminders; "
        f"{state.running} running, {state.succeeded} runs done"
    )


def _leader(state: State) -> str:
    return "nobody leads" if state.term is None else f"term {state.term}: {state.holder} leads"
