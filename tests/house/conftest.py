from __future__ import annotations

import ast
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file, parsed."""

    path: Path
    name: str  # dotted for src ("gpucv.folds.plan"), the relative path elsewhere
    lines: int
    tree: ast.Module

    def imports(self) -> list[str]:
        """Every dotted name imported anywhere in the file, `from x import y` as ``x.y``."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.name}: relative import; write the full name"
                found += [f"{node.module}.{alias.name}" for alias in node.names]
        return found


def parse(path: Path, name: str) -> Module:
    source = path.read_text(encoding="utf-8")
    return Module(path, name, len(source.splitlines()), ast.parse(source, str(path)))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def package() -> list[Module]:
    """Every module of src/gpucv."""
    source = ROOT / "src"
    modules = []
    for path in sorted(source.rglob("*.py")):
        name = ".".join(path.relative_to(source).with_suffix("").parts)
        modules.append(parse(path, name.removesuffix(".__init__")))
    assert len(modules) > 10
    return modules


@pytest.fixture(scope="session")
def everything(package: list[Module]) -> list[Module]:
    """Every Python file of src, scripts and tests."""
    others = [
        parse(path, str(path.relative_to(ROOT)))
        for folder in ("scripts", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    return [*package, *others]


@pytest.fixture(scope="session")
def kept_files() -> list[Path]:
    """Every file git keeps or would keep; skips where there is no git checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout here, so there is no list of the files that git keeps")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file()]
