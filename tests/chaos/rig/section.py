"""The fault matrix as a section of docs/reliability.md."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.rig.matrix import MATRIX

_HEAD = ("| row | fault | holds | shown by | result | seconds |", "|---:|---|---|---|---|---:|")
_NOT_RUN: Mapping[str, Any] = {"tests": [], "result": "not run", "seconds": None}


def section(rows: Sequence[Mapping[str, Any]], measured: str) -> str:
    """`rows` are those of `ChaosReport.table`. A row that is not among them is there all the same, as not run."""
    by_number = {row["row"]: row for row in rows}
    lines = [_line(number, by_number.get(number, _NOT_RUN)) for number in MATRIX]
    passed = sum(row["result"] == "passed" for row in rows)
    return "\n".join(
        [f"`make chaos WRITE=1`: {passed} of {len(MATRIX)} rows hold. {measured}", "", *_HEAD, *lines]
    )


def _line(number: int, row: Mapping[str, Any]) -> str:
    fault, holds = MATRIX[number]
    seconds = "–" if row["seconds"] is None else f"{row['seconds']:.0f}"
    return f"| {number} | {fault} | {holds} | {_names(row['tests'])} | {row['result']} | {seconds} |"


def _names(tests: Sequence[Mapping[str, Any]]) -> str:
    """One name for all parameters of a test, with their number."""
    variants = Counter(test["name"].partition("[")[0] for test in tests)
    return "<br>".join(f"`{name}`" + (f" ×{n}" if n > 1 else "") for name, n in variants.items()) or "–"
