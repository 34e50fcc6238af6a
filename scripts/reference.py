"""Write docs/reference/*.md from the code, so that the reference cannot say something else.

The study file comes from its pydantic models and their docstrings, the commands from what
``-h`` prints, Python's names from signatures and docstrings, the tables from the columns the
code writes. A page that is out of date fails a test.

Usage: python scripts/reference.py [--check]    (--check writes nothing; exit code 1: out of date)
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
import sys
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import gpucv
from gpucv import schema
from gpucv.cli.main import build_app, root_help
from gpucv.study.config import Study

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["FOLDER", "cli_page", "main", "pages", "python_page", "study_page", "tables_page"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
MADE = "<!-- Made by scripts/reference.py from the code: change it there. -->\n"
WIDTH = 80

# The sections of a study file: how they are written, and the class that checks them.
SECTIONS = (
    ("", "Study"),
    ("[data]", "DataSpec"),
    ("[features]", "FeatureSpec"),
    ("[validation]", "ValidationSpec"),
    ("[[schemes]]", "SchemeSpec"),
    ("few_shot of a scheme", "FewShotSpec"),
    ("[[predictors]]", "PredictorSpec"),
    ("choose of a predictor", "ChooseSpec"),
    ("[verdict]", "VerdictSpec"),
    ("[execution]", "ExecutionSpec"),
    ("[execution.tls]", "TlsSpec"),
    ("[[catalog.models]]", "ModelEntry"),
    ("[[catalog.gpus]]", "GpuSpec"),
)
_OWN_KEYS = ("schema", "name", "seed")
# What Python users call beyond the names of the package itself.
ALSO = ("gpucv.export.ArtifactSet", "gpucv.predictors.vidur.compose_step")


def main() -> int:
    """Write the pages that differ, or name them; return the exit code."""
    stale = {
        path: text
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {
        FOLDER / "study-file.md": study_page(),
        FOLDER / "cli.md": cli_page(),
        FOLDER / "python.md": python_page(),
        FOLDER / "tables.md": tables_page(),
    }


def study_page() -> str:
    """Return the reference of the study file: every key, its default, bounds and meaning."""
    whole = Study.model_json_schema(by_alias=True)
    classes = {**whole["$defs"], "Study": whole}
    parts = [
        MADE + "# The study file\n",
        "One TOML file says what to run. Every key has a default unless it says *required*; "
        "a key it does not know is an error that names the nearest one it does. "
        "`gpucv init` writes a commented file to start from, `gpucv validate` checks one, and "
        "`--set predictors.0.params.max_depth=4` overrides a key from the command line.\n",
    ]
    for title, name in SECTIONS:
        if not title:
            # Its tables have their sections below.
            own = {key: field for key, field in whole["properties"].items() if key in _OWN_KEYS}
            parts.append(_section({**whole, "properties": own}, _class(name)))
            continue
        first, _, rest = title.partition(" of ")
        parts.append(f"## `{first}`{' of ' + rest if rest else ''}\n")
        parts.append(_section(classes[name], _class(name)))
    return "\n".join(parts)


def _section(definition: dict[str, Any], described: type) -> str:
    head, meanings = described_attributes(inspect.getdoc(described) or "")
    required = set(definition.get("required", ()))
    rows = [
        (
            f"`{key}`",
            "*required*" if key in required else _default(field.get("default")),
            _allowed(field),
            meanings.get(key, ""),
        )
        for key, field in definition["properties"].items()
    ]
    return f"{head}\n\n" + _table(("key", "default", "may be", "meaning"), rows)


def _class(name: str) -> type:
    for module in ("config", "scheme", "predictor", "execution"):
        found = getattr(importlib.import_module(f"gpucv.study.{module}"), name, None)
        if isinstance(found, type):
            return found
    msg = f"no section of a study is called {name}"
    raise LookupError(msg)


def described_attributes(doc: str) -> tuple[str, dict[str, str]]:
    """Split a NumPy-style class docstring into its text and what it says of each attribute."""
    text, _, attributes = doc.partition("\nAttributes\n----------\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in takewhile(lambda line: not line.startswith("---"), attributes.splitlines()):
        if line.startswith(" "):
            for name in names:
                meanings[name] = f"{meanings[name]} {line.strip()}".strip()
        elif line.strip():
            names = [name.strip() for name in line.partition(" :")[0].split(",")]
            meanings |= dict.fromkeys(names, "")
    return _markdown(text.strip()), {name: _markdown(told) for name, told in meanings.items()}


def _allowed(field: dict[str, Any]) -> str:
    """Say in words what a field of a JSON schema takes."""
    if "anyOf" in field:
        kinds = [_allowed(each) for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in field or "const" in field:
        values = field.get("enum", [field.get("const")])
        return ", ".join(f"`{_plain(value)}`" for value in values)
    if "$ref" in field:
        return "a table"
    kind = field.get("type", "any value")
    if kind == "array":
        if "prefixItems" in field:
            return f"list of {len(field['prefixItems'])}: " + ", ".join(
                _allowed(each) for each in field["prefixItems"]
            )
        return f"list of: {_allowed(field.get('items', {}))}"
    return str(KINDS.get(kind, kind)) + _bounds(field)


KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "object": "a table",
}


def _bounds(field: dict[str, Any]) -> str:
    signs = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    told = [f"{word} {field[name]:,}" for name, word in signs.items() if name in field]
    return f", {', '.join(told)}" if told else ""


def _default(value: Any) -> str:
    """Show a default as TOML; tables have their own below."""
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        if any(isinstance(each, dict) for each in value):
            return "as published"
        return "`[" + ", ".join(_plain(each) for each in value) + "]`"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def cli_page() -> str:
    """Return the reference of the commands: what each prints for ``-h``, at 80 columns."""
    app = build_app()
    parts = [
        MADE + "# Commands\n",
        "Results go to stdout, progress and notes to stderr. What each command says of itself:\n",
        f"```text\n{root_help()}\n```\n",
    ]
    for name in re.findall(r"^  ([a-z]+)  ", root_help(), flags=re.MULTILINE):
        parts.append(f"## gpucv {name}\n\n```text\n{_help(app, name)}\n```\n")
    return "\n".join(parts)


def _help(app: Any, command: str) -> str:
    shown = io.StringIO()
    app.help_print([command], console=Console(file=shown, width=WIDTH, color_system=None))
    text = "\n".join(line.rstrip() for line in shown.getvalue().splitlines()).strip()
    # The exit codes stand below every command; the page says them once.
    return text.partition("\n\nExit codes:")[0].rstrip()


def python_page() -> str:
    """Return the reference of the Python names: signatures and docstrings."""
    names = [f"gpucv.{name}" for name in gpucv.__all__ if not name.startswith("_")]
    parts = [
        MADE + "# Python\n",
        "`import gpucv` loads nothing heavy; each name is loaded on first use. All of it is "
        "typed. Tables are pandas DataFrames whose columns stand in [tables](tables.md).\n",
    ]
    for name in (*names, *ALSO):
        module, _, attribute = name.rpartition(".")
        parts.append(_object(name, getattr(importlib.import_module(module), attribute)))
    return "\n".join(parts)


def _object(name: str, thing: Any) -> str:
    if not inspect.isclass(thing):
        return f"## {name}\n\n{_signature(name, thing)}{_docstring(thing)}\n"
    parts = [f"## {name}\n\n{_docstring(thing)}\n"]
    for member, value in vars(thing).items():
        if member.startswith("_") or not inspect.getdoc(value):
            continue
        if isinstance(value, (classmethod, staticmethod)) or inspect.isfunction(value):
            bound = getattr(thing, member)
            parts.append(f"### {name}.{member}\n\n{_signature(member, bound)}{_docstring(bound)}\n")
        elif isinstance(value, property) or hasattr(value, "func"):
            parts.append(f"### {name}.{member}\n\n{_docstring(value)}\n")
    return "\n".join(parts)


def _signature(name: str, thing: Any) -> str:
    """Show a signature as it is written: annotations are kept as text, defaults as values."""
    shown, starred = [], False
    signature = inspect.signature(thing)
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
        starred |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        default = parameter.default
        tail = "" if default is parameter.empty else f" = {default!r}"
        shown.append(f"{star}{parameter.name}: {parameter.annotation}{tail}")
    gives = signature.return_annotation
    line = f"{name.rpartition('.')[2]}({', '.join(shown)}) -> {gives}"
    if len(line) > WIDTH:
        inner = "".join(f"    {each},\n" for each in shown)
        line = f"{name.rpartition('.')[2]}(\n{inner}) -> {gives}"
    return f"```text\n{line}\n```\n\n"


def _docstring(thing: Any) -> str:
    """Return a NumPy-style docstring as Markdown: sections as bold words, entries as a list."""
    lines: list[str] = []
    section = ""
    source = (inspect.getdoc(thing) or "").splitlines()
    for line, below in zip(source, [*source[1:], ""], strict=True):
        if below and set(below) == {"-"}:
            section = line
            lines.append(f"\n**{line}**\n")
        elif line and set(line) == {"-"}:
            continue
        elif section == "Examples":
            lines.append(f"    {line.replace('  # doctest: +SKIP', '')}" if line else "")
        elif section and line and not line.startswith(" "):
            entry, _, kind = line.partition(" : ")
            lines.append(f"- `{entry}`" + (f" ({_markdown(kind)})" if kind else ""))
        else:
            lines.append(f"  {_markdown(line.strip())}" if section and line else _markdown(line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def tables_page() -> str:
    """Return the reference of the tables: steps, measurements, and the run folder's."""
    parts = [
        MADE + "# Tables\n",
        "Units stand in names: `_us` microseconds, `_ns` nanoseconds of a monotonic clock, "
        "`_s` seconds. The files of a run folder stand in "
        "[ARCHITECTURE.md](../../ARCHITECTURE.md#the-run-folder), the columns of other systems' "
        "files in [formats](../formats.md).\n",
        "## The step table\n",
        "One row per engine iteration. gpucv writes and reads it as parquet or CSV.\n",
        _columns(schema.STEP_COLUMNS),
        "Where a recording has request snapshots:\n",
        _columns(schema.SNAPSHOT_COLUMNS),
        "Derived where a study or the audit asks: `step.cycle_us` (start of the next consecutive "
        "step minus start of this one) and `step.schedule_us` (end minus start of the scheduler "
        "call).\n",
        "## Measurement tables\n",
        "One row per operator, pass or request of another system's files. Groups:\n",
        _columns(schema.GROUP_COLUMNS),
        "Physics:\n",
        _columns(schema.PHYSICS_COLUMNS),
        "## Tables of a run folder\n",
        "Each file with its columns, in the order they are written. *Text* cells that a "
        "spreadsheet would run as a formula carry an apostrophe in front; an undefined *real* "
        "is empty.\n",
    ]
    for title, told, columns in _written_tables():
        rows = [(f"`{name}`", kind) for name, kind in columns.items()]
        head = ("column", "kind") if any(columns.values()) else ("column",)
        parts += [f"{title}\n", f"{told}\n", _table(head, (row[: len(head)] for row in rows))]
    return "\n".join(parts)


def _columns(columns: Iterable[Any]) -> str:
    rows = [(f"`{each.name}`", each.dtype, each.unit, each.meaning) for each in columns]
    return _table(("column", "type", "unit", "meaning"), rows)


def _written_tables() -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield heading, description and columns of every table whose docstring names its file."""
    paths = (ROOT / "src" / "gpucv" / "analysis").glob("*.py")
    for path in sorted(paths, key=lambda path: (path.stem != "tables", path.stem)):
        module = importlib.import_module(f"gpucv.analysis.{path.stem}")
        for node, below in pairwise(ast.parse(path.read_text(encoding="utf-8")).body):
            named = getattr(node, "target", None) or getattr(node, "targets", [None])[0]
            constant = getattr(named, "id", "")
            if not constant.endswith("_COLUMNS") or not isinstance(below, ast.Expr):
                continue
            told = _markdown(" ".join(str(ast.literal_eval(below.value)).split()))
            columns = getattr(module, constant)
            if not isinstance(columns, dict):
                columns = dict.fromkeys(columns, "")
            file = re.match(r"([a-z_]+\.csv)[:.] ", told)
            if file:
                yield f"### {file[1]}", told[file.end()].upper() + told[file.end() + 1 :], columns
            elif told.startswith("Behind them"):
                yield "#### And sometimes", told, columns


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _markdown(text: str) -> str:
    """Turn the docstrings' double backticks into Markdown's single ones."""
    return text.replace("``", "`")


if __name__ == "__main__":
    sys.exit(main())
