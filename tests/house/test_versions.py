"""One version, said the same way everywhere."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
import yaml

import gpucv

if TYPE_CHECKING:
    from pathlib import Path


def test_the_installed_package_has_the_version_of_its_source() -> None:
    assert version("gpucv") == gpucv.__version__


def test_the_changelog_begins_with_this_version(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+\S*?)\]?(?:\s|$)", text, flags=re.MULTILINE)
    assert released, "CHANGELOG.md has no heading like '## 0.1.0'"
    assert released[0] == gpucv.__version__


def test_the_citation_names_this_version(root: Path) -> None:
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == gpucv.__version__


@pytest.mark.parametrize("field", ["cff-version", "message", "title", "authors", "type", "license"])
def test_the_citation_has_the_field(root: Path, field: str) -> None:
    assert yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))[field]
