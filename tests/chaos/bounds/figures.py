"""From tries to figures: medians, maxima, and whether the promises hold."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.bounds.measure import Bound, Measure
from tests.chaos.bounds.tries import Try


@dataclass(frozen=True, slots=True)
class Figure:
    """One bound and what was measured of it, in seconds. A try that failed has no value, and breaks the bound."""

    name: str
    bound: Bound
    values: Sequence[float]
    failed: int

    @property
    def met(self) -> bool:
        return bool(self.values) and not self.failed and max(self.values) <= self.bound.limit_s


def figures(measures: Sequence[Measure], tries: Sequence[Try]) -> list[Figure]:
    """In the order of the measures."""
    found = []
    for measure in measures:
        mine = [each for each in tries if each.measure == measure.name]
        failed = sum(1 for each in mine if each.error)
        for name, bound in measure.bounds.items():
            values = [round(each.seconds[name], 3) for each in mine if not each.error]
            found.append(Figure(name, bound, values, failed))
    return found


def as_json(found: Sequence[Figure], conditions: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "figures": {
            each.name: {
                "median_s": statistics.median(each.values) if each.values else None,
                "max_s": max(each.values, default=None),
                "failed": each.failed,
                "values_s": list(each.values),
            }
            for each in found
        },
        "targets": {
            each.name: {
                "value": max(each.values, default=None),
                "target": each.bound.limit_s,
                "met": each.met,
            }
            for each in found
        },
        "conditions": dict(conditions),
    }


def as_table(found: Sequence[Figure]) -> str:
    """Markdown."""
    lines = [
        "| from → to | bound | median | maximum | tries | met |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for each in found:
        median = f"{statistics.median(each.values):.2f} s" if each.values else "–"
        worst = f"{max(each.values):.2f} s" if each.values else "–"
        tries = f"{len(each.values) + each.failed}" + (f", {each.failed} failed" if each.failed else "")
        met = "yes" if each.met else "**no**"
        lines.append(
            f"| {each.bound.what} | {each.bound.limit_s:g} s | {median} | {worst} | {tries} | {met} |"
        )
    return "\n".join(lines)
