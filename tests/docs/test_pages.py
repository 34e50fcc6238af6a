"""Pages: every link leads somewhere, the site has all of them, the reference is up to date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *DOCS,
    ROOT / "bench" / "README.md",
    ROOT / "data" / "README.md",
]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors code hosts and the site make of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    unquoted = re.sub(r"`[^`\n]*`", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", unquoted):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.is_file() or place.is_dir(), target
        if anchor:
            assert anchor in anchors(place), target


def entries(nav: list[Any]) -> list[str]:
    found = []
    for entry in nav:
        for place in entry.values():
            found += entries(place) if isinstance(place, list) else [place]
    return found


def test_the_site_has_every_page_once() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    named = entries(config["project"]["nav"])
    assert len(named) == len(set(named))
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert [ids(page) for page in DOCS if ids(page) not in named] == []
    assert config["project"]["theme"]["font"] is False


def test_the_entrance_links_to_every_page() -> None:
    entrance = ROOT / "docs" / "index.md"
    reached = set(script("site").links(entrance))
    assert [ids(page) for page in DOCS if page not in reached and page != entrance] == []


def test_what_pages_link_to_is_laid_beside_them(tmp_path: Path) -> None:
    copied = script("site").stage(ROOT, tmp_path)
    names = {str(path.relative_to(ROOT)) for path in copied}
    assert {"README.md", "ARCHITECTURE.md", "examples/few-shot-vidur.toml"} <= names
    assert all((tmp_path / name).read_bytes() == (ROOT / name).read_bytes() for name in names)
    assert not any(name.startswith("src/gpucv/") and name.endswith(".py") for name in names)


def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path: Path) -> None:
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed; make docs installs it")
    site = script("site")
    site.BUILD = tmp_path
    assert site.main() == 0
    built = sorted((tmp_path / "docs").rglob("*.html"))
    assert len(built) >= len(DOCS)
    tag = r"<(?:script|img|iframe|link rel=.(?:stylesheet|preconnect|icon).)"
    loaded = re.compile(tag + r"[^>]*(?:src|href)=.(?:https?:)?//")
    for page in built:
        assert not loaded.search(page.read_text(encoding="utf-8")), page


def test_the_reference_says_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}run: python scripts/reference.py"


def test_the_reference_has_every_key_command_and_column() -> None:
    from gpucv import schema
    from gpucv.cli.main import build_app
    from gpucv.study import Study

    reference = script("reference")
    study = reference.study_page()
    for name in Study.model_fields:
        assert name == "schema_version" or re.search(rf"`\[*{name}\b", study), name
    for key in ("few_shot", "early_stopping_rounds", "folds_per_gpu", "bandwidth_efficiency"):
        row = re.search(rf"^\| `{key}` \|.*\|$", study, flags=re.MULTILINE)
        assert row, key
        assert row[0].count(" | ") == 3
        assert not row[0].endswith("|  |"), f"{key} has no meaning"
    commands = reference.cli_page()
    named = [name for name in build_app() if not name.startswith("-")]
    assert [name for name in named if f"## gpucv {name}\n" not in commands] == []
    assert max(map(len, commands.splitlines())) < 100
    tables = reference.tables_page()
    assert all(f"| `{column.name}` | {column.dtype} |" in tables for column in schema.STEP_COLUMNS)


def test_an_attribute_described_for_several_names_is_said_of_each() -> None:
    doc = "One.\n\nAttributes\n----------\na, b : int\n    First\n    line.\nc\n    ``x``.\n"
    head, told = script("reference").described_attributes(doc)
    assert head == "One."
    assert told == {"a": "First line.", "b": "First line.", "c": "`x`."}


def test_every_question_names_where_it_was_asked() -> None:
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    questions = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(questions) > 10
    for question in questions:
        sources = re.findall(r"\[([\w.-]+/[\w.-]+) #(\d+)\]\(https://github\.com/(\S+)\)", question)
        assert sources, question.splitlines()[0]
        for repository, number, address in sources:
            assert address in (f"{repository}/issues/{number}", f"{repository}/pull/{number}")
