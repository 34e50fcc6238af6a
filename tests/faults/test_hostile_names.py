"""Names from data go through a whole run: into no path, no markup, no formula, no terminal."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv
from gpucv.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "../../escaped",
    "\x1b]0;owned\x07\x1b[2J",
    "=HYPERLINK(1)",
    "'=quoted",
    "@sum",
    "-1",
    "NA",
    "two\nlines",
    "car\rriage",
    'comma, "quote"',
    "pipe | table",
    "[/nope]",
    "\u202egpj.exe",
    "nul\0byte",
    "emoji 🙂",
    " blanks ",
    "long " * 2_000,
]


FEATURE = "=<u>tokens</u>\x1b[7m\u202e"


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    frame = pd.DataFrame(
        [(name, place, place * 2.0 + len(name) % 7 + 1) for name in NAMES for place in range(6)],
        columns=["model", "tokens", "time_us"],
    )
    frame[FEATURE] = frame["tokens"] * 3 + frame["model"].str.len()
    frame["experiment_id"] = frame["model"]
    frame["workload"] = frame["model"]
    frame.to_parquet(tmp_path / "steps.parquet")
    return frame


@pytest.fixture
def result(table: pd.DataFrame, tmp_path: Path) -> gpucv.Result:
    assert len(table) == 6 * len(NAMES)
    study: dict[str, Any] = {
        "name": "=<blink>\x1b[31m",
        "data": {"steps": [str(tmp_path / "steps.parquet")], "target": "time_us"},
        "features": {"columns": ["tokens", FEATURE]},
        "schemes": [{"name": "<i>lomo</i>", "hold_out": "model"}],
        "predictors": [{"label": "=<marquee>", "params": {"n_estimators": 2}}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }
    return gpucv.run(study, out=tmp_path / "run")


def test_no_name_becomes_a_path(result: gpucv.Result, tmp_path: Path) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "steps.parquet"]
    folders = sorted(path.name for path in (result.path / "folds").iterdir())
    assert folders == [f"{number:04d}" for number in range(len(NAMES))]


def test_every_name_reads_back_as_it_was(result: gpucv.Result) -> None:
    loaded = gpucv.Result.load(result.path)
    for found in (result, loaded):
        assert found.folds["holdout"].tolist() == sorted(NAMES)
        assert found.experiments["experiment_id"].tolist() == sorted(NAMES)
        assert set(found.importance["holdout"]) == set(NAMES)
    assert set(loaded.predictions["experiment_id"]) == set(NAMES)
    assert json.loads((result.path / "manifest.json").read_text(encoding="utf-8"))["name"] == (
        "=<blink>\x1b[31m"
    )


def test_the_tables_of_why_keep_every_name(result: gpucv.Result) -> None:
    loaded = gpucv.Result.load(result.path)
    for found in (loaded.outside, loaded.explanations, loaded.errors):
        assert found is not None
        assert set(found["holdout"]) == set(NAMES)
    assert loaded.outside is not None
    assert loaded.explanations is not None
    assert FEATURE in set(loaded.outside["feature"]) & set(loaded.explanations["feature"])


def test_no_cell_is_a_formula(result: gpucv.Result) -> None:
    for path in result.path.glob("*.csv"):
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in cells.columns:
            text = cells[name][~pd.to_numeric(cells[name], errors="coerce").notna()]
            assert not text.str.match(r"[=+@\t\r]").any(), f"{path.name}: {name}"


def test_no_name_is_markup(result: gpucv.Result) -> None:
    page = (result.path / "report.html").read_text(encoding="utf-8")
    findings = (result.path / "FINDINGS.md").read_text(encoding="utf-8")
    tags = r"<(script>alert|/style><img|img src=x|i>lomo|blink|marquee|u>tokens)"
    assert not re.search(tags, page)
    assert not re.search(rf"(?<!\\){tags}", findings)
    for control in ("\x1b", "\x07", "\u202e", "\0"):
        assert control not in page + findings
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page


def test_no_name_speaks_to_the_terminal(
    result: gpucv.Result, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in (["report", str(result.path)], ["resume", str(result.path)]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        out, err = capfd.readouterr()
        for text in (out, err):
            assert not [c for c in text if not c.isprintable() and c != "\n"]
        assert "<script>alert(1)</script>" in out
