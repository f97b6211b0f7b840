"""Which rows run, and the table of what came of them."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.chaos.report import PAGE
from tests.chaos.rig.matrix import MATRIX
from tests.chaos.rig.report import ChaosReport, rows_of, wanted_rows


def report(name: str, row: int | None, outcome: Any = "passed", seconds: float = 1.0) -> pytest.TestReport:
    properties: list[tuple[str, object]] = [] if row is None else [("row", row)]
    return pytest.TestReport(
        f"tests/chaos/test_rows.py::{name}",
        ("", None, ""),
        {},
        outcome,
        None,
        "call",
        duration=seconds,
        user_properties=properties,
    )


def test_the_matrix_has_31_rows_with_their_invariants() -> None:
    assert sorted(MATRIX) == list(range(1, 32))
    assert all(set(row.holds.split()) <= set("ULMCTPS") for row in MATRIX.values())


def test_rows_are_chosen_by_number_and_none_means_all() -> None:
    assert wanted_rows("2 16,22") == {2, 16, 22}
    assert wanted_rows(" ") == set(MATRIX)


@pytest.mark.parametrize("text", ["32", "0", "two", "-1"])
def test_a_row_that_does_not_exist_is_a_usage_error(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="no row"):
        wanted_rows(text)


def test_a_test_marked_with_a_row_that_does_not_exist_is_a_usage_error() -> None:
    item = Mock(nodeid="test_x")
    item.iter_markers.return_value = [pytest.mark.row(32).mark]
    with pytest.raises(pytest.UsageError, match="no row 32"):
        rows_of(item)


def test_the_table_has_a_line_for_each_row_and_one_failure_fails_it(tmp_path: Path) -> None:
    target = tmp_path / "rows.json"
    plugin = ChaosReport(target)
    for each in (
        report("test_cut", 10, seconds=3.0),
        report("test_cut", 10, seconds=0.5),
        report("test_silent", 10, "failed"),
        report("test_flush", 8),
        report("test_of_the_rig", None),
    ):
        plugin.pytest_runtest_logreport(each)
    plugin.pytest_terminal_summary(Mock())
    rows = json.loads(target.read_text())["rows"]
    assert [(row["row"], row["result"], row["seconds"]) for row in rows] == [
        (8, "passed", 1.0),
        (10, "failed", 4.5),
    ]
    assert rows[1]["tests"][0] == {"name": "test_cut", "result": "passed", "seconds": 3.5}
    assert rows[0]["holds"] == "L T"


def test_the_page_gets_every_row_and_those_that_did_not_run_say_so(tmp_path: Path) -> None:
    """Given a page, a test with two parameters of which one failed, and another row's, then the page has 31 rows."""
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    plugin = ChaosReport(None, page)
    for each in (
        report("test_cut[short]", 10, seconds=3.0),
        report("test_cut[long]", 10, "failed"),
        report("test_flush", 8),
    ):
        plugin.pytest_runtest_logreport(each)
    plugin.pytest_terminal_summary(Mock())
    written = page.read_text().partition("<!-- rows:begin -->")[2].partition("<!-- rows:end -->")[0]
    lines = [line for line in written.splitlines() if line.startswith(tuple(f"| {n} |" for n in MATRIX))]
    assert len(lines) == len(MATRIX)
    assert lines[7] == "| 8 | Redis loses all data | L T | `test_flush` | passed | 1 |"
    assert lines[9] == "| 10 | Redis unreachable for 30 s | L T | `test_cut` ×2 | failed | 4 |"
    assert lines[0].endswith("| U L T | – | not run | – |")
    assert "1 of 31 rows hold" in written
