"""Every numbered fault of docs/reliability.md has a test that names its number, and back."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
FAULTS = set(range(1, 48))
ROW = re.compile(r"^\| (\d+) \| ", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def marked(node: ast.AST) -> set[int]:
    """The numbers of the `pytest.mark.fault(...)` calls in an expression."""
    calls = (each for each in ast.walk(node) if isinstance(each, ast.Call))
    return {
        word.value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "fault"
        for word in call.args
        if isinstance(word, ast.Constant) and isinstance(word.value, int)
    }


def marked_in(path: Path) -> Iterator[tuple[str, set[int]]]:
    """The test functions of a file, with the faults each is marked with."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    of_all = set[int]()
    for node in module.body:
        names = [ast.unparse(target) for target in getattr(node, "targets", ())]
        if "pytestmark" in names:
            of_all |= marked(node)
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, of_all.union(*map(marked, node.decorator_list))


def all_tests() -> dict[str, set[int]]:
    return {
        f"{path.relative_to(ROOT)}::{name}": faults
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name, faults in marked_in(path)
    }


def rows() -> dict[int, str]:
    page = PAGE.read_text(encoding="utf-8")
    return {int(ROW.match(line)[1]): line for line in page.splitlines() if ROW.match(line)}  # type: ignore[index]


def test_the_table_has_every_fault_once() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(map(int, ROW.findall(page))) == sorted(FAULTS)


def test_every_fault_has_a_test_that_names_its_number() -> None:
    met = set[int]().union(*all_tests().values())
    assert sorted(FAULTS - met) == []
    assert sorted(met - FAULTS) == []


def test_every_row_names_tests_that_meet_its_fault() -> None:
    tests = all_tests()
    for number, row in rows().items():
        named = [f"{path}::{name}" for path, name in TEST.findall(row)]
        assert named, f"fault {number} names no test"
        for each in named:
            assert number in tests.get(each, ()), f"fault {number}: {each} does not meet it"
