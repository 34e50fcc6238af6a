from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from tests.report.conftest import HOSTILE

from gpucv.analysis.comparison import ComparedRun, Comparison, compare_runs
from gpucv.analysis.gates import judge_gates, parse_gate
from gpucv.report.comparison import (
    comparison_json,
    failed_lines,
    render_comparison,
    render_comparison_terminal,
)
from gpucv.runs import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence


def folds(
    mapes: Sequence[float], holdouts: Sequence[str] = "abcd", predictor: str = "xgboost"
) -> pd.DataFrame:
    n = len(mapes)
    return pd.DataFrame(
        {
            **{"scheme": "lomo", "holdout": list(holdouts)[:n], "predictor": predictor},
            **{"transform": "raw", "target": "t", "status": "ok", "n_test": 1200},
            **{"test_mape": list(mapes), "test_wape": 5.0, "test_p99_ape": 80.0},
            **{"test_time_error": 1.0, "fit_s": np.arange(1.0, n + 1), "predict_s": 0.1},
        }
    )


def compared(before: pd.DataFrame, after: pd.DataFrame, *gates: str) -> Comparison:
    found = compare_runs(ComparedRun("main", before, wall_s=9.0), [ComparedRun("new", after)])
    judged = judge_gates([parse_gate(gate) for gate in gates], found.accuracy, found.speed)
    return replace(found, gates=judged)


def printed(found: Comparison, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_comparison_terminal(found, width=width))
    return capture.get()


WORSE = compared(folds([10.0, 20, 30, 40]), folds([10.5, 21, 31.5, 42]), "mape:+2%", "fit:+10%")


def test_the_first_lines_say_what_failed() -> None:
    lines = printed(WORSE).splitlines()
    assert lines[0] == "new against main"
    assert lines[1].startswith("1 of 2 checks failed. MAPE: of 1 mean per scheme and predictor, 1")
    assert lines[2].startswith("fail: mape:+2%: lomo xgboost: 25.00% -> 26.25% (+5.00%, n = 4")


def test_a_rerun_is_said_to_be_the_same() -> None:
    found = compared(folds([10.0, 20]), folds([10.0, 20]), "mape:+2%")
    told = printed(found)
    assert "1 check: none failed. Every fold has the same MAPE, to the last bit." in told
    assert "Folds: MAPE" not in told
    assert failed_lines(found) == []


def test_the_tables_hold_the_figures_with_their_number_of_folds() -> None:
    line = next(line for line in printed(WORSE).splitlines() if line.startswith("lomo "))
    assert line.split()[:6] == ["lomo", "xgboost", "4", "25.00", "26.25", "+1.25"]
    assert line.split()[-1] == "worse"


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = "a-predictor-with-a-very-long-name on a transform"
    found = compared(
        folds([1e6, 2e6, 3e6, 4e6], predictor=long), folds([2e6, 2e6, 3e6, 9e6], predictor=long)
    )
    assert max(map(len, printed(found, width).splitlines())) <= width


def test_markdown_says_the_summary_first_and_folds_the_details() -> None:
    told = render_comparison(WORSE)
    assert told.startswith("### gpucv: new against main\n\n**1 of 2 checks failed")
    assert told.index("- **fail** mape:+2%") < told.index("#### MAPE") < told.index("<details>")
    assert told.count("<details>") == told.count("</details>") == 1
    assert "\n\n<details>\n<summary>" in told  # GitHub reads tables behind a blank line only
    assert re.search(r"</summary>\n\n#### WAPE", told)
    tables = [block for block in told.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 4
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_hostile_names_are_shown_as_text_everywhere() -> None:
    names = list(HOSTILE)
    before = folds(range(1, len(names) + 1), names, predictor=HOSTILE[0])
    after = before.assign(test_mape=before["test_mape"] * 2)
    after.loc[0, "status"] = "failed"
    found = compared(before, after, "mape:+2%")
    told = render_comparison(found)
    assert "<script>" not in told
    assert "\\<script\\>" in told
    for text in (told, printed(found), *failed_lines(found)):
        assert not {"\x1b", "\u202e", "\r"} & set(text)
    for block in (block for block in told.split("\n\n") if block.startswith("|")):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(bars) == 1


def test_long_tables_stay_within_a_comment() -> None:
    n = 600
    names = [f"fold {at}" for at in range(n)]
    found = compared(folds(np.full(n, 10.0), names), folds(np.full(n, 11.0), names))
    told = render_comparison(found)
    assert len(told) < 65_536
    assert f"{n - 100} more with --json." in told
    assert len(comparison_json(found)["folds"]) == n


def test_json_holds_every_table_and_no_number_that_json_lacks() -> None:
    value = json.loads(to_json(comparison_json(WORSE)))
    assert (value["baseline"], value["runs"], value["ok"]) == ("main", ["new"], False)
    assert [gate["status"] for gate in value["gates"]] == ["fail", "pass"]
    assert value["accuracy"][0]["change"] == 1.25
    assert value["speed"][-1]["low"] is None
    assert len(value["folds"]) == 4


def test_of_many_that_pass_only_some_are_listed_and_all_that_fail() -> None:
    before = pd.concat([folds([10.0, 20, 30], predictor=f"p{at:02}") for at in range(20)])
    after = before.reset_index(drop=True)
    after.loc[after["predictor"] == "p19", "test_mape"] *= 2
    told = printed(compared(before.reset_index(drop=True), after, "mape:+2%"))
    assert "fail: mape:+2%: lomo p19" in told
    assert "pass: 13 more" in told
