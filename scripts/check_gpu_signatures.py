#!/usr/bin/env python3
"""Check that what gpucv calls of the GPU libraries exists in those installed, without a GPU.

Reads the source that meets cuDF, CuPy, dask-cuda and XGBoost; follows every name to the real
library as far as it can be followed without running it; and reports attributes and
keywords that are not there. The doubles of the tests are held to the same signatures, so
that they cannot drift. Run it with the interpreter of an environment that has the libraries:

    make gpu-signatures
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Reader", "doubles_faults", "main", "parameters", "source_faults"]

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("cudf", "cupy", "dask_cuda", "rmm", "xgboost")
SOURCES = ("frames/gpu.py", "predictors/matrices.py", "predictors/paged.py", "folds/cluster")
DOUBLES = {"strict_cupy": "cupy", "host_cudf": "cudf"}
OWN = {"bare", "module", "Crossing", "crossings"}
"""Names of the doubles that stand for nothing."""
RETURNS = {
    "cudf.read_parquet": "cudf.DataFrame",
    "cudf.DataFrame.__getitem__": "cudf.Series",
    "cudf.Series.astype": "cudf.Series",
    "cudf.Series.to_cupy": "cupy.ndarray",
    "cupy.asarray": "cupy.ndarray",
    "cupy.empty": "cupy.ndarray",
    "cupy.full": "cupy.ndarray",
    "cupy.get_default_memory_pool": "cupy.cuda.MemoryPool",
}
"""What comes back, of the calls whose result is used again: no annotation says it."""
NAMED = {"self.xp": "cupy"}
"""Names in the source that stand for a library there."""


def real(name: str) -> Any:
    """Return the object a dotted name means in the installed libraries.

    Raises
    ------
    AttributeError, ImportError
        If there is no such thing.
    """
    root, *rest = name.split(".")
    found: Any = importlib.import_module(root)
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(f"{found.__name__}.{part}")
    return found


def parameters(function: Any) -> set[str] | None:
    """Return the names of a callable's parameters; None where none are told.

    A class that hands keywords on takes those its bases name. Other keywords handed on
    are not believed in: they are where a slip of the pen goes unseen. Compiled methods tell
    theirs in the first line of their description.
    """
    bases = inspect.getmro(function) if inspect.isclass(function) else ()
    makers = [vars(each)["__init__"] for each in bases if "__init__" in vars(each)]
    named: set[str] = set()
    for each in [function, *makers]:
        try:
            found = inspect.signature(each).parameters.values()
        except (TypeError, ValueError):
            continue
        named |= {p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in found):
            break
    if named - {"self"}:
        return named
    told = re.match(r"\S*\((?P<named>[^)]*)\)", inspect.getdoc(function) or "")
    if not told or "*" in told["named"] or "self" not in told["named"]:
        return None
    return {piece.partition("=")[0].split()[-1] for piece in told["named"].split(",") if piece}


class Reader:
    """Follows the names of one file into the libraries.

    Attributes
    ----------
    known : dict of str to str
        Variables, and the dotted name each stands for; an instance by its class and ``()``.
    faults : list of str
    followed : int
        Attributes that were looked up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = dict(NAMED)
        self.faults: list[str] = []
        self.followed = 0

    def read(self) -> None:
        """Read the file from top to bottom."""
        for node in ast.walk(ast.parse(self.path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] in LIBRARIES:
                        self.known[alias.asname or alias.name.partition(".")[0]] = alias.name
            elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in LIBRARIES:
                for alias in node.names:
                    self.known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(self.path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                meant = self.meant(node.value)
                if meant:
                    self.known[node.targets[0].id] = meant
            elif isinstance(node, ast.Attribute | ast.Call):
                self.meant(node)
        self.faults = list(dict.fromkeys(self.faults))

    def meant(self, node: ast.expr) -> str:
        """Return what an expression means in a library; "" where it means nothing there."""
        if ast.unparse(node) in self.known:
            return self.known[ast.unparse(node)]
        if isinstance(node, ast.Attribute):
            owner = self.meant(node.value).removesuffix("()")
            return self._checked(f"{owner}.{node.attr}", node) if owner else ""
        if isinstance(node, ast.Subscript):
            owner = self.meant(node.value).removesuffix("()")
            return f"{RETURNS[found]}()" if (found := f"{owner}.__getitem__") in RETURNS else ""
        if isinstance(node, ast.Call) and (called := self.meant(node.func)):
            self._keywords(called, node)
            if called in RETURNS:
                return f"{RETURNS[called]}()"
            return f"{called}()" if inspect.isclass(real(called)) else ""
        return ""

    def _checked(self, name: str, node: ast.expr) -> str:
        self.followed += 1
        try:
            real(name)
        except (AttributeError, ImportError):
            self.faults.append(f"{self.path.name}:{node.lineno}: there is no {name}")
            return ""
        return name

    def _keywords(self, called: str, node: ast.Call) -> None:
        taken = parameters(real(called))
        for keyword in node.keywords:
            if taken is not None and keyword.arg is not None and keyword.arg not in taken:
                self.faults.append(
                    f"{self.path.name}:{node.lineno}: {called} takes no {keyword.arg}"
                )


def source_faults() -> Iterator[str]:
    """Yield what gpucv calls and the libraries lack."""
    for source in SOURCES:
        place = ROOT / "src" / "gpucv" / source
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            reader = Reader(path)
            reader.read()
            yield from reader.faults
            print(f"{path.relative_to(ROOT)}: {reader.followed} names followed")


def doubles_faults() -> Iterator[str]:
    """Yield what the doubles of the tests offer and the libraries do not."""
    for name, library in DOUBLES.items():
        tree = ast.parse((ROOT / "tests" / "doubles" / f"{name}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if node_name(node) in OWN or node_name(node).startswith("_"):
                continue
            if isinstance(node, ast.FunctionDef):
                yield from _drifted(node, library)
            elif isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                        yield from _drifted(method, f"{library}.{node.name}")


def node_name(node: ast.stmt) -> str:
    """Return the name a definition gives, "" where it gives none."""
    return getattr(node, "name", "")


def _drifted(function: ast.FunctionDef, owner: str) -> Iterator[str]:
    try:
        taken = parameters(real(f"{owner}.{function.name}"))
    except (AttributeError, ImportError):
        yield f"the double has {owner}.{function.name}, and there is none"
        return
    offered = [each.arg for each in (*function.args.args, *function.args.kwonlyargs)]
    for name in offered:
        if taken is not None and name not in {*taken, "self"}:
            yield f"the double's {owner}.{function.name} takes {name}, and the real one does not"


def main() -> int:
    """Check everything; return 1 where something is not there."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        print(f"cannot check: {', '.join(missing)} not installed here", file=sys.stderr)
        return 2
    faults = [*source_faults(), *doubles_faults()]
    print("\n".join(faults) or "every name and keyword is there", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
