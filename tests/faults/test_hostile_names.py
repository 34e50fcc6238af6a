"""Names from data go through a whole run: into no path, no markup, no formula, no terminal."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import tomli_w

import gpucv
from gpucv.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.fault(38)

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
    "+1+cmd|' /C calc'!A0",
    "\ttab",
    "NA",
    "two\nlines",
    "car\rriage",
    'comma, "quote"',
    "pipe | table",
    "a[",
    "[/nope]",
    "[text](javascript:alert(1))",
    "\u202egpj.exe",
    "c1 \x9b31m",
    "nul\0byte",
    "emoji 🙂",
    " blanks ",
    "long " * 2_000,
]
GPUS = ["<b onclick=x>", "=1+1\x1b]0;t\x07", "\u2066a|b](c)\x85"]
FEATURE = "=<u>tokens</u>\x1b[7m\u202e[x](y)|`a`["
SCHEME = "<i>lomo</i>"
OTHER_SCHEME = "@SUM(1)\x1b]0;x\x07|<em>"
LABEL = "=<marquee>\x9b2J"
STUDY = "=<blink>\x1b[31m"
STEPS = "=steps <b>\x1b[1m\u202e.parquet"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TAGS = r"<(script>alert|/style><img|img src=x|i>lomo|blink|marquee|u>tokens|b onclick|em>)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study and a run of it, every name in it hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    frame = pd.DataFrame(
        [(name, place, place * 2.0 + len(name) % 7 + 1) for name in NAMES for place in range(6)],
        columns=["model", "tokens", "time_us"],
    )
    frame[FEATURE] = frame["tokens"] * 3 + frame["model"].str.len()
    frame["experiment_id"] = frame["workload"] = frame["model"]
    frame["gpu"] = [GPUS[at % 3] for at in range(len(frame))]
    frame.to_parquet(folder / STEPS)
    tree = {"params": {"n_estimators": 2}}
    study: dict[str, Any] = {
        "name": STUDY,
        "data": {"steps": [STEPS], "target": "time_us", "audit": "warn"},
        "features": {"columns": ["tokens", FEATURE]},
        "schemes": [
            {"name": SCHEME, "hold_out": "model"},
            {"name": OTHER_SCHEME, "hold_out": "gpu"},
        ],
        "predictors": [{"label": LABEL, **tree}, {"label": "+per", "per": "gpu", **tree}],
        "execution": {"workers": 2, "threads_per_fold": 1, "device": "cpu"},
    }
    (folder / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    gpucv.run(folder / "study.toml", out=folder / "run")
    return folder


@pytest.fixture
def result(folder: Path) -> gpucv.Result:
    return gpucv.Result.load(folder / "run")


@pytest.fixture
def told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command beside the study; return its code and what it printed."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main([*words])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


class Markup(HTMLParser):
    """Notes every element, and fails on anything that could act."""

    KNOWN = frozenset(
        [
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "header",
            "main",
            "section",
            "article",
            "nav",
            "footer",
            "div",
            "span",
            "p",
            "h1",
            "h2",
            "h3",
            "h4",
            "ul",
            "ol",
            "li",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "caption",
            "details",
            "summary",
            "figure",
            "figcaption",
            "svg",
            "path",
            "text",
            "g",
            "rect",
            "line",
            "circle",
            "polyline",
            "a",
            "code",
            "pre",
            "strong",
            "em",
            "small",
            "dl",
            "dt",
            "dd",
            "br",
            "hr",
            "time",
            "sup",
            "sub",
            "colgroup",
            "col",
            "abbr",
            "mark",
            "b",
            "tfoot",
        ]
    )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.KNOWN, f"<{tag}>"
        for name, value in attrs:
            assert not name.startswith("on"), f"<{tag} {name}={value!r}>"
            assert name not in ("href", "src") or str(value).startswith("#"), f"{name}={value!r}"


def assert_harmless(page: str) -> None:
    parser = Markup()
    parser.feed(page)
    parser.close()
    assert not re.search(TAGS, page)
    assert not CONTROLS.search(page), CONTROLS.search(page)


def test_no_name_becomes_a_path(folder: Path, result: gpucv.Result) -> None:
    made = {path.name for path in folder.iterdir()}
    assert {"run", "study.toml", STEPS} <= made
    numbers = sorted(path.name for path in (result.path / "folds").iterdir())
    assert numbers == [f"{number:04d}" for number in range(2 * len(NAMES) + 2 * len(GPUS))]
    plain = re.compile(r"[A-Za-z0-9_.]+")
    assert all(plain.fullmatch(path.name) for path in result.path.rglob("*"))


def test_a_run_named_by_its_study_has_letters_and_digits_alone(
    folder: Path, told: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, _ = told("run", "study.toml", "--limit", "2", "-q")
    (made,) = (folder / "runs").iterdir()
    assert code in (0, 1)
    assert re.fullmatch(r"[0-9TZ]+-blink-31m-[0-9a-f]{8}", made.name)


def test_every_name_reads_back_as_it_was(result: gpucv.Result) -> None:
    folds = result.folds[result.folds["scheme"] == SCHEME]
    first = folds[folds["predictor"] == LABEL]
    assert first["holdout"].tolist() == sorted(NAMES)
    assert set(result.folds["scheme"]) == {SCHEME, OTHER_SCHEME}
    assert set(result.folds["predictor"]) == {LABEL, "+per"}
    assert set(result.experiments["experiment_id"]) == set(NAMES)
    assert set(result.importance["feature"]) == {"tokens", FEATURE}
    assert set(result.predictions["experiment_id"]) == set(NAMES)
    assert result.donors is not None
    assert set(result.donors["donor"]) <= set(GPUS)
    for found in (result.outside, result.explanations, result.errors):
        assert found is not None
        assert set(NAMES) <= set(found["holdout"])
    assert result.outside is not None
    assert FEATURE in set(result.outside["feature"])
    manifest = json.loads((result.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["name"] == STUDY


def test_no_cell_is_a_formula(result: gpucv.Result) -> None:
    tables = list(result.path.glob("*.csv"))
    assert len(tables) > 10
    for path in tables:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in cells.columns:
            text = cells[name][~pd.to_numeric(cells[name], errors="coerce").notna()]
            assert not text.str.match(r"[=+@\t\r-]").any(), f"{path.name}: {name}"


def test_no_name_is_markup_on_the_page(result: gpucv.Result) -> None:
    page = (result.path / "report.html").read_text(encoding="utf-8")
    assert_harmless(page)
    assert "Content-Security-Policy\" content=\"default-src 'none'" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page
    assert_harmless(result._repr_html_())


def test_no_name_is_markup_in_the_findings(result: gpucv.Result) -> None:
    findings = (result.path / "FINDINGS.md").read_text(encoding="utf-8")
    assert not re.search(rf"(?<!\\){TAGS}", findings)
    assert not re.search(r"(?<!\\)\]\((?!#)", findings)  # a link
    assert not CONTROLS.search(findings)
    rows = [line for line in findings.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    heads = [at for at, row in enumerate(rows) if set(row) <= set("|-: ")]
    for at in heads:  # a pipe in a name makes no cell: every row is as wide as its head
        end = next((other for other in heads if other > at), len(rows) + 1) - 1
        assert set(widths[at - 1 : end]) == {widths[at]}


def test_the_drawing_is_sound_xml_without_anything_that_acts(result: gpucv.Result) -> None:
    drawing = (result.path / "timeline.svg").read_text(encoding="utf-8")
    assert not CONTROLS.search(drawing)
    for element in ET.fromstring(drawing).iter():
        name = element.tag.rpartition("}")[2]
        assert name in ("svg", "style", "path", "text", "g", "rect", "line", "title", "circle")
        assert not [key for key in element.attrib if key.startswith("on") or "href" in key]


@pytest.mark.parametrize(
    "words",
    [
        ("report", "run"),
        ("resume", "run"),
        ("ls", "."),
        ("compare", "run", "run again"),
        ("compare", "run", "run again", "--markdown"),
        ("validate", "study.toml"),
        ("run", "study.toml", "--dry-run"),
        ("audit", "study.toml", "--out", "audit.html"),
        ("audit", STEPS, "--target", "time_us"),
        ("features", "study.toml", "--out", "=features\x1b[7m.parquet"),
        ("run", "study.toml", "--set", "data.target=\x1b[31m\u202e\x9b"),
        ("run", "study.toml", "--set", "schemes.0.hold_out=\x1b[31m\u202e\x9b"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_no_name_speaks_to_the_terminal(
    words: tuple[str, ...], folder: Path, told: Callable[..., tuple[int, str, str]]
) -> None:
    if not (folder / "run again").exists():
        (folder / "run again").symlink_to(folder / "run")
    code, out, err = told(*words)
    assert code == (3 if "--set" in words else 0), err
    assert out or err
    for text in (out, err):
        assert not [c for c in text if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize(
    "words",
    [("report", "run"), ("ls", "."), ("run", "study.toml", "--dry-run"), ("audit", "study.toml")],
    ids=lambda words: words[0],
)
def test_json_is_printable_and_keeps_every_name(
    words: tuple[str, ...], told: Callable[..., tuple[int, str, str]]
) -> None:
    _, out, _ = told(*words, "--json")
    assert not [c for c in out if not c.isprintable() and c != "\n"]
    held = set(_texts(json.loads(out)))
    expected = {"ls": {STUDY}, "audit": {"time_us"}}.get(words[0], {*NAMES, *GPUS, SCHEME, LABEL})
    assert expected <= held


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in (*value, *value.values()) for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def test_the_page_of_an_audit_is_harmless(
    folder: Path, told: Callable[..., tuple[int, str, str]]
) -> None:
    told("audit", STEPS, "--target", "time_us", "--out", "judged.html")
    assert_harmless((folder / "judged.html").read_text(encoding="utf-8"))


def test_a_file_name_that_is_no_text_is_refused_by_that_reason(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / os.fsdecode(b"steps_\xff\x1b[1m.parquet")
    odd.write_bytes((folder / STEPS).read_bytes())
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(odd), "--target", "time_us"])
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (4, "")
    assert "its path is no text in UTF-8; rename it, or set LC_ALL=C.UTF-8" in err
    assert not [c for c in err if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize("name", ["", "\udcff", "x" * 10_000])
def test_a_study_cannot_be_called_what_no_file_could_hold(name: str, tmp_path: Path) -> None:
    study = {"name": name, "data": {"steps": ["x.csv"]}}
    with pytest.raises(gpucv.errors.StudyError) as refused:
        gpucv.run(study, out=tmp_path / "run")
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 400
