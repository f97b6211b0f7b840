"""Which rows run, and what came of them: `--rows`, a table at the end, `--chaos-json` and `--chaos-write`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from tests.chaos import report as page
from tests.chaos.rig.matrix import MATRIX
from tests.chaos.rig.section import section

PROPERTY = "row"


@dataclass
class Outcome:
    """Of one row. `tests`: name, result and seconds of each, set-up and clean-up included."""

    tests: dict[str, tuple[str, float]] = field(default_factory=dict)

    def add(self, name: str, result: str, seconds: float) -> None:
        before, so_far = self.tests.get(name, ("passed", 0.0))
        self.tests[name] = (before if before != "passed" else result, so_far + seconds)

    @property
    def result(self) -> str:
        return next((result for result, _ in self.tests.values() if result != "passed"), "passed")

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.tests.values())


class ChaosReport:
    """A pytest plugin; with xdist it works in the controlling process, which gets every test's report."""

    def __init__(self, json_file: Path | None, page_file: Path | None = None) -> None:
        """Where to write the table as JSON, and the page whose section to write."""
        self._json_file = json_file
        self._page_file = page_file
        self._where = page.conditions()
        self.outcomes: dict[int, Outcome] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, row in report.user_properties:
            if name == PROPERTY and isinstance(row, int):
                test = report.nodeid.rpartition("::")[2]
                self.outcomes.setdefault(row, Outcome()).add(test, report.outcome, report.duration)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if not self.outcomes:
            return
        terminalreporter.section("fault matrix")
        terminalreporter.write_line(f"{'row':>3}  {'fault':<58} {'holds':<6} {'result':<7} {'seconds':>7}")
        for row in self.table():
            terminalreporter.write_line(
                f"{row['row']:>3}  {row['fault']:<58} {row['holds']:<6} {row['result']:<7} {row['seconds']:>7.1f}"
            )
        if self._json_file is not None:
            self._json_file.write_text(json.dumps({"rows": self.table()}, indent=1) + "\n")
        if self._page_file is not None:
            page.write_section("rows", section(self.table(), page.in_words(self._where)), self._page_file)

    def table(self) -> list[dict[str, Any]]:
        """A row each: `row, fault, holds, result, seconds, tests: [{name, result, seconds}]`."""
        return [
            {
                "row": number,
                **MATRIX[number]._asdict(),
                "result": outcome.result,
                "seconds": round(outcome.seconds, 1),
                "tests": [
                    {"name": name, "result": result, "seconds": round(seconds, 1)}
                    for name, (result, seconds) in sorted(outcome.tests.items())
                ],
            }
            for number, outcome in sorted(self.outcomes.items())
        ]


def rows_of(item: pytest.Item) -> list[int]:
    """The rows that a test is marked with. Raises UsageError for one that the matrix does not have."""
    rows = [mark.args[0] for mark in item.iter_markers("row")]
    if unknown := set(rows) - set(MATRIX):
        raise pytest.UsageError(f"{item.nodeid}: the fault matrix has no row {min(unknown)}")
    return rows


def wanted_rows(text: str) -> frozenset[int]:
    """`"2 16 22"`; empty: all. Raises UsageError."""
    numbers = text.replace(",", " ").split()
    if unknown := [number for number in numbers if not number.isdigit() or int(number) not in MATRIX]:
        raise pytest.UsageError(f"--rows: the fault matrix has no row {unknown[0]}")
    return frozenset(map(int, numbers)) or frozenset(MATRIX)
