"""Build the documentation into build/docs, without a network.

Pages link to files beside docs/ (the examples, ARCHITECTURE.md), as readers of the repository
expect. A site holds only what lies in its own folder, so every page and whatever pages link to
is copied into build/site first, under the paths it has here; Zensical builds that, and stops
at a link that leads nowhere.

Usage: python scripts/site.py    (`make docs` installs what it needs first)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["links", "main", "stage"]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
CONFIG = "zensical.toml"


def main() -> int:
    """Stage the pages and build the site; return the exit code."""
    for old in ("site", "docs"):
        shutil.rmtree(BUILD / old, ignore_errors=True)
    stage(ROOT, BUILD / "site")
    shutil.copyfile(ROOT / CONFIG, BUILD / CONFIG)
    builder = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", CONFIG]
    settings = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(builder, cwd=BUILD, env=settings, check=False).returncode


def stage(root: Path, into: Path) -> list[Path]:
    """Copy the README, every page of docs/ and all that they link to; return what was copied."""
    waiting = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    copied: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source in copied or not source.is_file():
            continue
        copied.add(source)
        target = into / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if source.suffix == ".md":
            waiting += [path for path in links(source) if path.is_relative_to(root)]
    return sorted(copied)


def links(page: Path) -> Iterator[Path]:
    """Yield the places in this repository that `page` links to, whether they exist or not."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            yield (page.parent / target).resolve()


if __name__ == "__main__":
    sys.exit(main())
