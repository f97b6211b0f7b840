"""Which tests fail without which rule, and which inject which fault: read from the `rule` and `row` marks of the tests, written
to `docs/rules-and-tests.md`.

python docs/rules_table.py
"""

import ast
import re
import runpy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "rules-and-tests.md"

_HEAD = """# Rules and the tests that hold them

Made by `python docs/rules_table.py` from the tests' marks (`@pytest.mark.rule(5)`); a test fails when this page is out of
date, or when a rule has no test. Rules are in [protocol.md](protocol.md).

| rule | | tests |
|---|---|---|
"""
_FAULTS = """
## Faults and the tests that inject them

Marked `@pytest.mark.row(16)`; `make chaos ROWS=16` runs them. What came of it is in [reliability.md](reliability.md).

| row | fault | holds | tests |
|---|---|---|---|
"""


def rules() -> Mapping[int, str]:
    """Number and title of each rule, as `docs/protocol.md` has them."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    found = re.findall(r"^\*\*(\d+)\. (.+?)\*\*", text, re.MULTILINE | re.DOTALL)
    return {int(number): " ".join(title.split()).rstrip(".:") for number, title in found}


def faults() -> Mapping[int, tuple[str, str]]:
    """Each row of the fault matrix: the fault, and the invariants that hold in it."""
    found: Mapping[int, tuple[str, str]] = runpy.run_path(
        str(ROOT / "tests" / "chaos" / "rig" / "matrix.py")
    )["MATRIX"]
    return found


def tests(mark: str) -> Mapping[int, list[str]]:
    """For each `rule`, or `row`, its tests, as `file::name`; an empty list for one without."""
    by_number: dict[int, list[str]] = defaultdict(list)
    for path, tree in _test_files():
        for name, numbers in _marked(tree, mark, set(_module_marks(tree, mark)), ""):
            for number in sorted(numbers):
                by_number[number].append(f"{path.relative_to(ROOT / 'tests')}::{name}")
    return by_number


@cache
def _test_files() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text())) for path in sorted((ROOT / "tests").rglob("test_*.py"))]


def page() -> str:
    """The page as it should be."""
    by_rule, by_row = tests("rule"), tests("row")
    held = [
        f"| {number} | {title} | {_names(by_rule[number])} |\n" for number, title in sorted(rules().items())
    ]
    injected = [
        f"| {n} | {fault} | {holds} | {_names(by_row[n])} |\n" for n, (fault, holds) in faults().items()
    ]
    return "".join([_HEAD, *held, _FAULTS, *injected])


def _names(found: list[str]) -> str:
    return "<br>".join(f"`{name}`" for name in sorted(found)) or "–"


def _module_marks(tree: ast.Module, mark: str) -> Iterator[int]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytestmark" for t in node.targets):
            values = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
            for value in values:
                yield from _numbers(value, mark)


def _marked(node: ast.AST, mark: str, inherited: set[int], prefix: str) -> Iterator[tuple[str, set[int]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _marked(child, mark, inherited | _decorated(child, mark), f"{prefix}{child.name}::")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and child.name.startswith("test_"):
            numbers = inherited | _decorated(child, mark)
            if numbers:
                yield prefix + child.name, numbers


def _decorated(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, mark: str) -> set[int]:
    return {number for decorator in node.decorator_list for number in _numbers(decorator, mark)}


def _numbers(node: ast.expr, mark: str) -> Iterator[int]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == mark:
        for argument in node.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                yield argument.value


if __name__ == "__main__":
    PAGE.write_text(page())
