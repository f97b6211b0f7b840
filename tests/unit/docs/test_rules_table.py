"""The table of rules and tests is true, and complete."""

import runpy
from pathlib import Path

import pytest

TABLE = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "rules_table.py"))


def test_the_page_says_what_the_marks_say() -> None:
    page: Path = TABLE["PAGE"]
    assert page.read_text() == TABLE["page"](), "run: python docs/rules_table.py"


def test_the_protocol_has_its_thirty_six_rules() -> None:
    assert sorted(TABLE["rules"]()) == list(range(1, 37))


@pytest.mark.parametrize("number", sorted(TABLE["rules"]()))
def test_each_rule_has_a_test(number: int) -> None:
    assert TABLE["tests"]("rule").get(number), f"no test is marked @pytest.mark.rule({number})"


@pytest.mark.parametrize("number", sorted(TABLE["faults"]()))
def test_each_row_of_the_fault_matrix_has_a_test(number: int) -> None:
    assert TABLE["tests"]("row").get(number), f"no test is marked @pytest.mark.row({number})"


def test_each_row_of_the_fault_matrix_is_on_the_page_with_its_tests() -> None:
    page: Path = TABLE["PAGE"]
    faults = page.read_text().partition("## Faults")[2]
    assert [n for n in range(1, 32) if f"\n| {n} | " not in faults] == []
    assert "_rows_leader.py::test_row_01" in faults
