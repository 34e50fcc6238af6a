from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from gpucv.report import render_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput

VOID = {"meta", "link", "br", "img", "input", "hr"}
OWN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section"),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "div",
        "span",
        "b",
        "br",
        "strong",
        "ul",
        "li",
        "details",
        "summary",
    ),
    *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("svg", "path", "text", "circle"),
}


class Page(HTMLParser):
    """Reads a page strictly: every tag closed in order, every tag and attribute kept."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def words(html: str) -> str:
    return " ".join(" ".join(Page(html).text).split())


def first_screen(html: str) -> str:
    return words(html).split("Error by model and workload")[0]


def test_the_first_screen_answers(report_of: Callable[..., ReportInput]) -> None:
    report = report_of(synthetic=True, notes=(("warning", "a third of the requests failed"),))
    screen = first_screen(render_page(report))
    for part in (
        "SYNTHETIC DATA",
        "hold on a model it has never seen?",
        "Not supported",
        "3335.0%",
        "n = 3 of 3 folds",
        "worst 9908.0% (llama-2-7b)",
        "device cpu",
        "a third of the requests failed",
    ):
        assert part in screen


def test_it_loads_nothing_and_runs_nothing(report: ReportInput) -> None:
    html = render_page(report)
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= OWN_TAGS
    for _, attributes in page.tags:
        assert not {name for name in attributes if name in ("src", "href") or name.startswith("on")}
    assert "url(" not in html
    assert "@import" not in html
    assert "http://" not in html
    assert "https://" not in html
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_hostile_names_are_only_text(hostile_report: ReportInput) -> None:
    html = render_page(hostile_report)
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= OWN_TAGS
    for _, attributes in page.tags:
        assert not {name for name in attributes if name in ("src", "href") or name.startswith("on")}
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert "{{ 7*7 }}" in "".join(page.text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


def test_the_heat_map_colours_each_cell_by_its_distance_from_the_threshold(
    report: ReportInput,
) -> None:
    html = render_page(report)
    cells = re.findall(r'<td class="(h\d)" title="100 test rows">([\d.]+)</td>', html)
    assert sorted(set(cells)) == [("h2", "18.2"), ("h4", "78.9"), ("h7", "9908.0")]


def test_every_finished_fold_has_its_panel_and_its_curve(
    report_of: Callable[..., ReportInput],
) -> None:
    html = render_page(report_of(failed=("codellama-34b",)))
    labels = re.findall(r'aria-label="Predicted against actual, (\S+) held out, (\d+) rows"', html)
    assert labels == [("llama-2-7b", "200"), ("mixtral-8x7b-v0-1", "200")]
    (curves,) = re.findall(r'<svg[^>]*aria-label="Share of rows below an error.*?</svg>', html)
    assert curves.count('class="curve c') == 2


def test_without_predictions_it_says_what_is_left_out(
    report_of: Callable[..., ReportInput],
) -> None:
    html = render_page(report_of(predictions=None))
    assert "Single predictions are not part of these results" in words(html)
    assert "Predicted against actual, " not in html


def test_a_table_without_models_has_no_heat_map(report_of: Callable[..., ReportInput]) -> None:
    report = report_of()
    report.tables.experiments["model"] = ""
    assert "Error by model and workload" not in render_page(report)


def test_failed_folds_and_their_reasons_stand_on_the_page(
    report_of: Callable[..., ReportInput],
) -> None:
    html = render_page(report_of(failed=("llama-2-7b",)))
    assert "1 of 3 planned folds did not finish" in words(html)
    assert "out of memory on llama-2-7b" in words(html)
    assert not re.search(r"\bnan\b", words(html).lower())


def test_a_study_with_no_finished_fold_still_has_a_page(
    report_of: Callable[..., ReportInput],
) -> None:
    failed = ("llama-2-7b", "mixtral-8x7b-v0-1", "codellama-34b")
    html = render_page(report_of(failed=failed))
    assert "Undecided" in words(html)
    assert "no fold finished" in words(html)


def test_several_predictors_fold_away_behind_the_first(
    report_of: Callable[..., ReportInput],
) -> None:
    html = render_page(report_of(formulations=(("xgboost", "raw"), ("xgboost", "log"))))
    chapters = [a for tag, a in Page(html).tags if a.get("class") == "chapter"]
    assert ["open" in attributes for attributes in chapters] == [True, False]
    assert "The predictors compared" in words(html)


def test_many_folds_do_not_make_a_huge_page(report_of: Callable[..., ReportInput]) -> None:
    models = tuple(f"model-{index:03d}" for index in range(150))
    html = render_page(report_of(models=models))
    assert html.count("Predicted against actual, ") == 64
    assert "86 folds between the worst and the best are not drawn" in words(html)
    assert len(html) < 2_000_000


def test_the_same_input_gives_the_same_bytes(report: ReportInput) -> None:
    assert render_page(report) == render_page(report)


def test_light_dark_and_paper_are_all_styled(report: ReportInput) -> None:
    html = render_page(report)
    for query in (
        "prefers-color-scheme:dark",
        "@media print",
        "max-width:40rem",
        "h4,h2+p{break-after:avoid}",
    ):
        assert query in html
    used = {name for value in re.findall(r'class="([^"]+)"', html) for name in value.split()}
    for name in {each for each in used if re.fullmatch(r"[hcd]\d", each)}:
        assert re.search(rf"\.{name}\b", html)
