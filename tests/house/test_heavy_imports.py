"""Heavy libraries are each imported in one place, and none of them by `gpucv -h`."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Library: the modules or packages that may import it. A package keeps it to one of its files.
HOMES: dict[str, tuple[str, ...]] = {
    "cudf": ("gpucv.frames.gpu",),
    "cupy": ("gpucv.frames.gpu",),
    "rmm": ("gpucv.frames.gpu",),
    "xgboost": (
        "gpucv.predictors.gbdt",
        "gpucv.predictors.matrices",
        "gpucv.predictors.trainers",
        "gpucv.predictors.fused",
        "gpucv.predictors.paged",
        "gpucv.predictors.distributed",
        "gpucv.machine.probe_program",
        "gpucv.export.boosters",
    ),
    "dask": ("gpucv.folds.cluster",),
    "distributed": ("gpucv.folds.cluster",),
    "dask_cuda": ("gpucv.folds.cluster",),
    "cryptography": ("gpucv.folds.cluster",),
    # Splitters, and Vidur's regressors: what they score is theirs only if scikit-learn fits them.
    "sklearn": ("gpucv.splits", "gpucv.predictors.vidur"),
    "optuna": ("gpucv.pipelines.search",),
    "mlflow": ("gpucv.workflow.tracking",),
}
# Nothing but its library happens in them, so every file may have to do with it.
WHOLE_PACKAGES = {"gpucv.folds.cluster"}
SLOW_TO_LOAD = {*HOMES, "pandas", "pyarrow", "scipy"}


def libraries(module: Any) -> set[str]:
    return {imported.partition(".")[0] for imported in module.imports()} & set(HOMES)


def home_of(module: Any, library: str) -> str:
    """Return which of a library's homes a module belongs to; "" if none."""
    inside = (home for home in HOMES[library] if f"{module.name}.".startswith(f"{home}."))
    return next(inside, "")


def test_a_heavy_library_is_imported_only_in_its_homes(package: list[Any]) -> None:
    strays = [
        f"{module.name} imports {library}, which only {' and '.join(HOMES[library])} may"
        for module in package
        for library in sorted(libraries(module))
        if not home_of(module, library)
    ]
    assert strays == []


def test_a_heavy_library_is_imported_by_one_file_of_each_home(package: list[Any]) -> None:
    importers = {
        (library, home): [
            module.name
            for module in package
            if library in libraries(module) and home_of(module, library) == home
        ]
        for library, homes in HOMES.items()
        for home in homes
        if home not in WHOLE_PACKAGES
    }
    assert {key: files for key, files in importers.items() if len(files) > 1} == {}
    # Were the search blind, the two rules above would hold for ever.
    assert importers["xgboost", "gpucv.predictors.gbdt"] == ["gpucv.predictors.gbdt"]


def loaded_with(tree: ast.AST) -> set[str]:
    """Libraries imported as soon as the module is: in no function and not for types alone."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= loaded_with(node)
    return found


def test_a_heavy_library_is_imported_inside_a_function(package: list[Any]) -> None:
    early = {
        module.name: sorted(loaded_with(module.tree) & set(HOMES))
        for module in package
        if module.name not in HOMES["cudf"]  # itself loaded only where there is a GPU
    }
    assert {name: found for name, found in early.items() if found} == {}


def test_an_import_counts_as_early_unless_a_function_or_a_type_needs_it() -> None:
    early = "try:\n    import dask.array\nexcept ImportError:\n    from xgboost import DMatrix"
    late = "if TYPE_CHECKING:\n    import cudf\ndef f():\n    import cupy\n"
    assert loaded_with(ast.parse(early + "\n" + late)) == {"dask", "xgboost"}


@pytest.mark.parametrize(
    "program",
    [
        "import gpucv",
        "from gpucv.cli.main import main\nsys.argv = ['gpucv', '-h']\nmain()",
        "from gpucv.cli.main import main\nsys.argv = ['gpucv', '--version']\nmain()",
    ],
    ids=["import gpucv", "gpucv -h", "gpucv --version"],
)
def test_nothing_slow_is_loaded_by(program: str, tmp_path: Path) -> None:
    lines = [
        "import atexit, sys",
        f"slow = {sorted(SLOW_TO_LOAD)}",
        "report = lambda: sys.stderr.write(f'{[name for name in slow if name in sys.modules]}')",
        "atexit.register(report)",
        program,
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.endswith("[]"), done.stderr
