"""Which tests fail without which rule: read from the `rule` marks of the tests, written to `docs/rules-and-tests.md`.

python docs/rules_table.py
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "rules-and-tests.md"

_HEAD = """# Rules and the tests that hold them

Made by `python docs/rules_table.py` from the tests' marks (`@pytest.mark.rule(5)`); a test fails when this page is out of
date, or when a rule has no test. Rules are in [protocol.md](protocol.md).

| rule | | tests |
|---|---|---|
"""


def rules() -> Mapping[int, str]:
    """Number and title of each rule, as `docs/protocol.md` has them."""
    text = (ROOT / "docs" / "protocol.md").read_text()
    found = re.findall(r"^\*\*(\d+)\. (.+?)\*\*", text, re.MULTILINE | re.DOTALL)
    return {int(number): " ".join(title.split()).rstrip(".:") for number, title in found}


def tests() -> Mapping[int, list[str]]:
    """For each rule its tests, as `file::name`."""
    by_rule: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for name, numbers in _marked(tree, set(_module_marks(tree)), ""):
            for number in sorted(numbers):
                by_rule[number].append(f"{path.relative_to(ROOT / 'tests')}::{name}")
    return by_rule


def page() -> str:
    """The page as it should be."""
    found = tests()
    rows = []
    for number, title in sorted(rules().items()):
        names = "<br>".join(f"`{name}`" for name in sorted(found.get(number, []))) or "–"
        rows.append(f"| {number} | {title} | {names} |")
    return _HEAD + "\n".join(rows) + "\n"


def _module_marks(tree: ast.Module) -> Iterator[int]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytestmark" for t in node.targets):
            values = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
            for value in values:
                yield from _numbers(value)


def _marked(node: ast.AST, inherited: set[int], prefix: str) -> Iterator[tuple[str, set[int]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _marked(child, inherited | _decorated(child), f"{prefix}{child.name}::")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and child.name.startswith("test_"):
            numbers = inherited | _decorated(child)
            if numbers:
                yield prefix + child.name, numbers


def _decorated(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    return {number for decorator in node.decorator_list for number in _numbers(decorator)}


def _numbers(node: ast.expr) -> Iterator[int]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "rule":
        for argument in node.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                yield argument.value


if __name__ == "__main__":
    PAGE.write_text(page())
