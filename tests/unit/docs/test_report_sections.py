"""Commands write their tables into the reliability page, and nothing else."""

import re
from pathlib import Path

import pytest

from tests.chaos.report import PAGE, write_section

TEXT = "# Page\n\n<!-- a:begin -->\nold\n<!-- a:end -->\n\n<!-- b:begin -->\nkept\n<!-- b:end -->\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    return page


def test_a_section_is_replaced_between_its_marks(page: Path) -> None:
    write_section("a", "\nnew\n", page)
    assert page.read_text() == TEXT.replace("old", "new")
    write_section("a", "old", page)
    assert page.read_text() == TEXT


@pytest.mark.parametrize("change", [("a:begin", "c:begin"), ("a:end", "c:end"), ("b:begin", "a:begin")])
def test_marks_that_are_missing_or_doubled_change_nothing(page: Path, change: tuple[str, str]) -> None:
    broken = TEXT.replace(*change)
    page.write_text(broken)
    with pytest.raises(ValueError, match="a:begin"):
        write_section("a", "new", page)
    assert page.read_text() == broken


@pytest.mark.parametrize("name", ["rows", "bounds", "storm", "soak"])
def test_the_page_has_the_sections(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.md"
    copy.write_text(PAGE.read_text())
    write_section(name, "table", copy)
    assert "table" in copy.read_text()


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(\S+\.py)::(test_\w+)`", PAGE.read_text())
    tests = PAGE.parents[1] / "tests"
    assert [
        f"{file}::{name}" for file, name in named if f"def {name}(" not in (tests / file).read_text()
    ] == []
    assert len(named) > 30
