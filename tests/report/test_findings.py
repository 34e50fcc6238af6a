from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from gpucv.report import render_findings
from gpucv.report.findings import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput


def tables_of(text: str) -> list[list[list[str]]]:
    """The pipe tables of a Markdown text, as rows of cells, without their rules."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip().strip("*") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not all(set(cell) <= {"-", ":"} for cell in cells):
                found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_the_fold_table_shows_every_fold_and_its_average(report: ReportInput) -> None:
    folds = tables_of(render_findings(report))[0]
    header = folds[0]
    assert header[:4] == ["held out", "n test", "MAPE %", "MSPE %"]
    by_name = {row[0]: row for row in folds[1:]}
    assert by_name["llama-2-7b"][1:4] == ["200", "9908.0", "-9908.0"]
    assert by_name["average, n = 3 of 3"][2] == f"{(9908.0 + 78.9 + 18.2) / 3:.1f}"


def test_it_says_question_verdict_claim_and_what_follows(report: ReportInput) -> None:
    text = render_findings(report)
    assert "# Findings: h3" in text
    assert "hold on a model it has never seen?" in text
    assert "**Verdict: Not supported.** 2 of 3 finished folds" in text
    assert "test MAPE below 25% (strongly: below 20%; partially:" in text
    assert "Fit one predictor per model" in text.split("## What follows")[1]


def test_best_and_worst_experiments_are_ordered_by_their_error(report: ReportInput) -> None:
    text = render_findings(report)
    best = tables_of(text.split("lomo: best 3 of 6 experiments")[1])[0]
    worst = tables_of(text.split("lomo: worst 3 of 6 experiments")[1])[0]
    assert [row[4] for row in best[1:]] == ["18.2", "18.2", "78.9"]
    assert [row[4] for row in worst[1:]] == ["9908.0", "9908.0", "78.9"]


def test_ten_features_and_their_average_spread_are_listed(report: ReportInput) -> None:
    importance = render_findings(report).split("rank stability")[1]
    table = tables_of(importance)[0]
    assert len(table) == 12
    spreads = [float(row[3]) for row in table[1:-1]]
    assert table[-1][0] == "top-10 average"
    assert float(table[-1][3]) == pytest.approx(sum(spreads) / 10, abs=0.06)


def test_synthetic_recorded_and_trial_runs_say_so_before_any_number(
    report_of: Callable[..., ReportInput],
) -> None:
    for more, word in (
        ({"synthetic": True}, "SYNTHETIC DATA"),
        ({"recorded": True}, "RECORDED RESULTS"),
        ({"provenance": {"limit": 200}}, "TRIAL RUN. Only the first 200 steps"),
    ):
        text = render_findings(report_of(**more))
        assert text.index(word) < text.index("Question")
        assert word not in render_findings(report_of())


def test_failed_folds_are_listed_with_their_reason_and_leave_no_number(
    report_of: Callable[..., ReportInput],
) -> None:
    text = render_findings(report_of(failed=("llama-2-7b",)))
    assert "1 of 3 planned folds did not finish" in text
    assert "out of memory on llama-2-7b" in text
    folds = tables_of(text.split("## Folds")[1])[0]
    by_name = {row[0]: row for row in folds[1:]}
    assert by_name["llama-2-7b"][2:5] == ["failed", "-", "-"]
    assert by_name["average, n = 2 of 3"][2] == f"{(78.9 + 18.2) / 2:.1f}"
    assert not re.search(r"\bnan\b", text.lower())


def test_a_study_in_which_every_fold_failed_is_undecided(
    report_of: Callable[..., ReportInput],
) -> None:
    failed = ("llama-2-7b", "mixtral-8x7b-v0-1", "codellama-34b")
    text = render_findings(report_of(failed=failed))
    assert "**Verdict: Undecided.** None of the 3 planned folds finished" in text
    assert "No feature importance is known" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_several_predictors_are_compared_and_each_has_its_chapter(
    report_of: Callable[..., ReportInput],
) -> None:
    formulations = (("xgboost", "raw"), ("xgboost", "log"), ("ridge", "raw"))
    text = render_findings(report_of(formulations=formulations))
    comparison = tables_of(text.split("## The predictors compared")[1])[0]
    assert [row[:2] for row in comparison[1:]] == [list(each) for each in formulations]
    for heading in ("## xgboost", "## xgboost on log", "## ridge"):
        assert f"\n{heading}\n" in text
    assert text.count("### Folds") == 3


def test_notes_and_provenance_are_kept(report_of: Callable[..., ReportInput]) -> None:
    text = render_findings(report_of(notes=(("warning", "33 % of requests failed"),)))
    assert "- warning: 33 % of requests failed" in text
    assert "**1 warning(s) about the data**" in text
    assert "- machine.cores: 4" in text
    assert "ab" * 32 in text


def test_the_same_input_gives_the_same_bytes(report: ReportInput) -> None:
    assert render_findings(report) == render_findings(report)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "a|b",
        "`code`",
        "*bold* __also__ _this_",
        "[x](http://evil.example)",
        "https://evil.example www.evil.example me@evil.example",
        "a\\|b",
        "&lt;b&gt; &amp;",
        "f_kv_blocks_used",
        "![i](x)",
        "~~gone~~",
    ],
)
def test_markdown_shows_a_name_as_it_stands(name: str) -> None:
    renderer = MarkdownIt("gfm-like", {"linkify": False})
    inline = renderer.parseInline(f"x {markdown(name)} x")[0].children or []
    assert {token.type for token in inline} <= {"text", "text_special"}
    assert "".join(token.content for token in inline) == f"x {name} x"


def test_a_plain_name_is_not_cluttered_with_escapes() -> None:
    assert (
        markdown("f_kv_blocks_used of step.duration_us") == "f_kv_blocks_used of step.duration_us"
    )


def test_hostile_names_stay_text_and_keep_every_table_whole(hostile_report: ReportInput) -> None:
    text = render_findings(hostile_report)
    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(text)
    allowed = "h1|h2|h3|h4|p|strong|ul|li|table|thead|tbody|tr|th|td|blockquote"
    assert set(re.findall(r"<([a-z0-9]+)", html)) <= set(allowed.split("|"))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    for table in tables_of(text):
        assert len({len(row) for row in table}) == 1
