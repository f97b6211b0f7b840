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
    assert TABLE["tests"]().get(number), f"no test is marked @pytest.mark.rule({number})"
