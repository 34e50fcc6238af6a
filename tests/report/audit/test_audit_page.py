from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from gpucv.report.audit_page import render_audit_page
from gpucv.report.audit_story import AuditStory, audit_story
from gpucv.traces import SourceFile
from gpucv.traces.audit import Audit

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit import TargetAudit

VOID = {"meta"}
OWN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "footer", "h1", "h2"),
    *("h3", "p", "div", "span", "b", "strong", "ul", "ol", "li", "details", "summary", "figure"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "path"),
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


def assert_inert(html: str) -> Page:
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= OWN_TAGS
    for _, attributes in page.tags:
        assert not {name for name in attributes if name in ("src", "href") or name.startswith("on")}
    return page


def test_it_loads_nothing_and_runs_nothing(steps: Audit) -> None:
    html = render_audit_page(audit_story(steps, "t"))
    page = assert_inert(html)
    for request in ("url(", "@import", "http://", "https://"):
        assert request not in html
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_the_first_screen_answers(steps: Audit) -> None:
    said = words(render_audit_page(audit_story(steps, "steps.parquet")))
    screen = said[said.index("Audit of") :].split("Checks")[0]
    parts = (
        "Audit of steps.parquet",
        "Is this trace fit to learn from?",
        "Fit, with step.cycle_us as the target",
        "Of 3 targets 2 fail, 1 passes",
        "rows 400",
        "✗ fail step.duration_us 97.5% of rows below the roofline floor, 13.8% of the wall time",
        "✓ pass step.cycle_us",
        "What follows",
        'set target = "step.cycle_us" under [data]',
    )
    positions = [screen.index(part) for part in parts]
    assert positions == sorted(positions)


def test_bars_are_as_long_as_their_shares(target_of: Callable[..., TargetAudit]) -> None:
    shares = {"a": 0.5, "b": 0.001, "c": 0.0}
    figures = {"share_below_floor": 0.3, "share_below_floor_by_experiment": shares}
    audit = Audit(9, (target_of("x_us", "fail", figures),), ())
    html = render_audit_page(audit_story(audit, "t"))
    bars = re.findall(r'<svg[^>]*aria-label="([^"]*)">(.*?)</svg>', html)
    # 120 units are all rows; a share above nothing is at least half a unit long.
    assert [label for label, _ in bars] == [
        *("50.0% against 5%", "0.1% against 5%", "0.0% against 5%")
    ]
    drawn = [re.findall(r'class="(\w+)" d="M0 2H([\d.]+)V10H0Z"', bar) for _, bar in bars]
    assert drawn == [
        [("trough", "120"), ("bad", "60")],
        [("trough", "120"), ("good", "0.5")],
        [("trough", "120"), ("good", "0")],
    ]
    assert all('<path class="limit" d="M6 0L6 12"/>' in bar for _, bar in bars)
    assert "Up to the dashed line, 5%" in words(html)


def test_a_share_above_one_stays_inside_its_axis(target_of: Callable[..., TargetAudit]) -> None:
    figures = {"explained_share": 1.5, "explained_share_by_experiment": {"a": 1.5, "b": 0.75}}
    html = render_audit_page(audit_story(Audit(9, (target_of("x_us", "warn", figures),), ()), "t"))
    lengths = re.findall(r'class="(?:good|partly|bad)" d="M0 2H([\d.]+)V', html)
    assert lengths == ["120", "60"]


def test_hostile_names_are_only_text(hostile_story: AuditStory) -> None:
    html = render_audit_page(hostile_story)
    page = assert_inert(html)
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert "{{ 7*7 }}" in "".join(page.text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert "nan" not in words(html).lower().split()


@pytest.mark.parametrize(("files", "is_open"), [(2, True), (79, False)])
def test_many_files_fold_away(steps: Audit, files: int, is_open: bool) -> None:
    sources = [SourceFile(f"{at}.parquet", 9, "ab" * 32, 9, "parquet") for at in range(files)]
    html = render_audit_page(audit_story(steps, "t", sources))
    last = [attributes for tag, attributes in Page(html).tags if tag == "details"][-1]
    assert ("open" in last) is is_open
    assert html.count("ab" * 32) == files


def test_an_empty_audit_has_a_page(target_of: Callable[..., TargetAudit]) -> None:
    html = render_audit_page(audit_story(Audit(9, (), ()), "t"))
    assert "Cannot tell" in words(html)
    for heading in ("Checks", "Findings", "Notes on reading", "Provenance"):
        assert f"<h2>{heading}</h2>" not in html
    unknown = Audit(9, (target_of("x_us", "unknown", {}, "no roofline floor"),), ())
    assert "? unknown x_us no roofline floor" in words(render_audit_page(audit_story(unknown, "t")))


def test_light_dark_paper_and_every_level_are_styled(steps: Audit, measured: Audit) -> None:
    for audit in (steps, measured):
        html = render_audit_page(audit_story(audit, "t"))
        for query in ("prefers-color-scheme:dark", "@media print", "max-width:40rem"):
            assert query in html
        used = {name for value in re.findall(r'class="([^"]+)"', html) for name in value.split()}
        levels = {name for name in used if name.startswith("level-")}
        assert levels
        for name in levels | (used & {"trough", "good", "partly", "bad", "limit"}):
            assert re.search(rf"\.{name}\b", html)


def test_the_same_story_gives_the_same_bytes(steps: Audit) -> None:
    assert render_audit_page(audit_story(steps, "t")) == render_audit_page(audit_story(steps, "t"))
