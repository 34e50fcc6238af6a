"""Imports go one way: down the floors of ARCHITECTURE.md."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# A module is looked up by its longest prefix here.
FLOORS = {
    "gpucv._version": 0,
    "gpucv.errors": 0,
    "gpucv.schema": 0,
    "gpucv.injection": 0,
    "gpucv.machine": 1,
    "gpucv.catalog": 1,
    "gpucv.study": 1,
    "gpucv.frames": 2,
    "gpucv.runs": 2,
    "gpucv.traces": 3,
    "gpucv.splits": 3,
    "gpucv.predictors": 3,
    "gpucv.metrics": 3,
    "gpucv.features": 4,
    "gpucv.transforms": 4,
    "gpucv.pipelines": 5,
    "gpucv.folds": 6,
    "gpucv.analysis": 7,
    "gpucv.report": 8,
    "gpucv.export": 8,
    "gpucv.workflow": 9,
    "gpucv.benchmark": 10,
    "gpucv.cli": 11,
    "gpucv": 12,  # `import gpucv` offers what the floors below made
}
# Neighbours that may be imported, importer first: a study file adds to the catalog.
NEIGHBOURS = {("gpucv.study", "gpucv.catalog")}


def part_of(name: str) -> str:
    """The entry of FLOORS that the dotted `name` belongs to; "" if none."""
    pieces = name.split(".")
    prefixes = [".".join(pieces[:length]) for length in range(len(pieces), 0, -1)]
    found = next((prefix for prefix in prefixes if prefix in FLOORS), "")
    # Only the package's own file is "gpucv": any other module has to be named above.
    return "" if found == "gpucv" and name != "gpucv" else found


def target_of(imported: str, modules: set[str]) -> str:
    """The module that an import reaches: ``gpucv.errors.DataError`` is in ``gpucv.errors``."""
    while imported not in modules and "." in imported:
        imported = imported.rpartition(".")[0]
    return imported


def faults_of(module: Any, modules: set[str]) -> Iterator[str]:
    importer = part_of(module.name)
    for imported in module.imports():
        if imported.partition(".")[0] != "gpucv":
            continue
        target = part_of(target_of(imported, modules))
        if target == importer or (importer, target) in NEIGHBOURS:
            continue
        if FLOORS[target] >= FLOORS[importer]:
            yield f"{importer} ({FLOORS[importer]}) imports {imported} ({FLOORS[target]})"


def test_every_module_has_a_floor(package: list[Any]) -> None:
    homeless = [module.name for module in package if not part_of(module.name)]
    assert not homeless, "give each a floor, here and in ARCHITECTURE.md"


def test_every_floor_has_its_modules(package: list[Any]) -> None:
    assert set(FLOORS) == {part_of(module.name) for module in package}


def test_no_module_imports_from_its_own_floor_or_above(package: list[Any]) -> None:
    modules = {module.name for module in package}
    assert [fault for module in package for fault in faults_of(module, modules)] == []


@pytest.mark.parametrize(
    "source",
    [
        "from gpucv.folds.plan import FoldTask",
        "def f():\n    import gpucv.cli.main",
        "from gpucv import folds",
        "if TYPE_CHECKING:\n    from gpucv.traces import StepTable",
        "import gpucv",
    ],
)
def test_an_import_upwards_or_sideways_is_found_wherever_it_stands(
    package: list[Any], source: str
) -> None:
    module = replace(package[0], name="gpucv.metrics", tree=ast.parse(source))
    modules = {module.name for module in package}
    assert len(list(faults_of(module, modules))) == 1
