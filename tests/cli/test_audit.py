"""``gpucv audit`` as it is used: what it prints where, and how it ends."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., Any]


@pytest.fixture
def steps(few_steps: pd.DataFrame, tmp_path: Path) -> Path:
    """Steps that name no GPU, whose duration fails and whose cycle does not."""
    path = tmp_path / "steps.parquet"
    few_steps.drop(columns="gpu").to_parquet(path)
    return path


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """A table no column of which is a time the audit knows."""
    path = tmp_path / "cards.csv"
    pd.DataFrame({"card": list("ab") * 20, "size": range(40), "took": range(1, 41)}).to_csv(
        path, index=False
    )
    return path


def test_the_public_steps_are_judged(gpucv: Command, shared_data: Path) -> None:
    ended = gpucv("audit", shared_data / "vllm-steps", "--json")
    assert ended.code == 0
    assert ended.err == ""
    found = json.loads(ended.out)
    verdicts = {name: each["verdict"] for name, each in found["targets"].items()}
    assert verdicts == {
        "step.duration_us": "fail",
        "step.schedule_us": "fail",
        "step.cycle_us": "pass",
    }
    assert found["rows"] == sum(file["rows"] for file in found["data"]) == 13433
    assert "same_shapes" in {each["code"] for each in found["findings"]}
    assert "skipped_files" in {each["code"] for each in found["notes"]}


def test_the_copied_gpu_is_printed(gpucv: Command, shared_data: Path) -> None:
    ended = gpucv("audit", shared_data / "splitwise")
    assert ended.code == 0
    assert "gpu h100-80gb-pcap = h100 x 1.3 for prompt, x 1 for token" in " ".join(
        ended.out.split()
    )


def test_it_ends_with_3_only_if_every_target_judged_fails(gpucv: Command, steps: Path) -> None:
    assert gpucv("audit", steps).code == 0
    assert gpucv("audit", steps, "--target", "step.duration_us").code == 3
    both = ("--target", "step.duration_us", "--target", "step.schedule_us")
    ended = gpucv("audit", steps, *both, "--json")
    assert ended.code == 3
    assert list(json.loads(ended.out)["targets"]) == ["step.duration_us", "step.schedule_us"]
    assert gpucv("audit", steps, "--target", "step.cycle_us", *both).code == 0


def test_a_table_without_a_known_time_is_no_failure(gpucv: Command, cards: Path) -> None:
    ended = gpucv("audit", cards, "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["targets"] == {}
    assert [each["code"] for each in found["findings"] if each["level"] == "warning"] == [
        "no_target"
    ]
    judged = json.loads(gpucv("audit", cards, "--target", "took", "--json").out)
    assert judged["targets"]["took"]["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steps.parquet", "--target", "step.cycel_us"], "did you mean 'step.cycle_us'?"),
        (["steps.parquet", "--gpu", "h1000"], "no GPU 'h1000' in the catalog; did you mean 'h100'"),
        (["steps.parquet", "perf_model.csv"], "rows of different kinds make no table"),
        (["steps.parquet", "--format", "vidr"], 'Did you mean "vidur"?'),
        (["steps.parquet", "--format", "vidur"], "is no file of format vidur"),
        (["stepz.parquet"], "no such file or folder: 'stepz.parquet'"),
        (["empty"], "'empty' holds no .parquet or .csv file"),
        (["nowhere.toml"], "cannot read the study 'nowhere.toml'"),
        (["study.toml", "--gpu", "h100"], "study.toml is a study, which says all"),
        (["study.toml", "--target", "step.cycle_us"], "name it alone"),
        (["study.toml", "--format", "table"], "name it alone"),
        (["study.toml", "steps.parquet"], "name it alone"),
        ([], "requires an argument"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(
    words: list[str], message: str, gpucv: Command, steps: Path, study: Path
) -> None:
    (steps.parent / "empty").mkdir()
    header = "model,hardware,prompt_size,batch_size,token_size,peak_power,average_power,"
    header += "prompt_time,token_time,e2e_time,tensor_parallel\n"
    (steps.parent / "perf_model.csv").write_text(header + "m,a100-80gb,1,1,1,1,1,1,1,1,1\n")
    ended = gpucv("audit", *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_damaged_file_ends_with_3(gpucv: Command, steps: Path) -> None:
    steps.write_bytes(steps.read_bytes()[:-100])
    ended = gpucv("audit", steps)
    assert (ended.code, ended.out) == (3, "")
    assert "steps.parquet" in ended.err


def test_the_gpu_named_sets_the_floor(gpucv: Command, steps: Path) -> None:
    def floors(*words: str) -> dict[str, float]:
        ended = gpucv("audit", steps, "--target", "step.cycle_us", "--json", *words)
        floor: dict[str, float] = json.loads(ended.out)["targets"]["step.cycle_us"]["floor_us"]
        return floor

    assumed, named = floors(), floors("--gpu", "a100")
    assert set(assumed) == {"codellama-34b tp2 on h100", "llama-2-7b tp1 on h100"}
    assert set(named) == {"codellama-34b tp2 on a100", "llama-2-7b tp1 on a100"}
    ratio = named["llama-2-7b tp1 on a100"] / assumed["llama-2-7b tp1 on h100"]
    assert ratio == pytest.approx(3.35 / 2.039)


def test_the_format_asked_for_decides_what_is_read(gpucv: Command, shared_data: Path) -> None:
    table = shared_data / "splitwise" / "perf_model.csv"
    as_format = json.loads(gpucv("audit", table, "--json").out)
    as_table = json.loads(gpucv("audit", table, "--format", "table", "--json").out)
    assert (as_format["rows"], list(as_format["targets"])) == (2520, ["latency_us"])
    assert (as_table["rows"], as_table["targets"]) == (1260, {})


def test_the_page_is_one_file_of_its_own(gpucv: Command, steps: Path) -> None:
    page = steps.parent / "page.html"
    ended = gpucv("audit", steps, "-o", page)
    assert ended.code == 0
    assert ended.err == f"page: {page}\n"
    text = page.read_text(encoding="utf-8")
    assert "Is this trace fit to learn from?" in text
    assert not re.search(r"https?://|<script|<link|@import|url\(|\ssrc=", text)
    before = page.read_bytes()
    page.unlink()
    assert gpucv("audit", steps, "-o", page, "--quiet").err == ""
    assert page.read_bytes() == before


@pytest.mark.parametrize("out", ["steps.parquet", "./sub/../steps.parquet", "study.toml"])
def test_the_page_is_never_written_over_what_is_audited(
    out: str, gpucv: Command, steps: Path, study: Path
) -> None:
    (steps.parent / "sub").mkdir()
    kept = {path: path.read_bytes() for path in (steps, study)}
    for traces in ("study.toml", *(["steps.parquet"] if out != "study.toml" else [])):
        ended = gpucv("audit", traces, "-o", out)
        assert (ended.code, ended.out) == (2, "")
        assert "is what is audited; name another file" in ended.err
    assert kept == {path: path.read_bytes() for path in kept}


def test_a_page_that_cannot_be_written_ends_with_4(gpucv: Command, steps: Path) -> None:
    ended = gpucv("audit", steps, "-o", "no/such/folder/page.html", "--json")
    assert (ended.code, ended.out) == (4, "")
    assert "cannot write no/such/folder/page.html" in ended.err


def test_a_study_is_audited_as_it_says(gpucv: Command, study: Path) -> None:
    ended = gpucv("audit", study, "--json")
    assert ended.code == 3
    found = json.loads(ended.out)
    assert list(found["targets"]) == ["step.duration_us"]
    assert found["targets"]["step.duration_us"]["verdict"] == "fail"
    assert not [note for note in found["notes"] if note["code"].startswith("audit_")]


def test_the_verdict_is_on_stdout_and_quiet_leaves_the_notes_out(
    gpucv: Command, steps: Path
) -> None:
    (steps.parent / "README").write_text("no table")
    spoken, quiet = gpucv("audit", "."), gpucv("audit", ".", "--quiet")
    for ended in (spoken, quiet):
        assert (ended.code, ended.err) == (0, "")
        assert "step.duration_us" in ended.out
        assert "Findings" in ended.out
    assert "skipped 1 other files (README)" in spoken.out
    assert "skipped" not in quiet.out


@pytest.mark.parametrize(
    "name", ["a b.parquet", "<b>&x.parquet", "[bold red]x[0].parquet", "\x1b[31mred.parquet"]
)
def test_a_hostile_file_name_stays_text(name: str, gpucv: Command, steps: Path) -> None:
    hostile = steps.rename(steps.with_name(name))
    ended = gpucv("audit", hostile, "-o", "page.html")
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err
    page = (steps.parent / "page.html").read_text(encoding="utf-8")
    assert "\x1b" not in page
    assert "<b>&x" not in page
    assert json.loads(gpucv("audit", hostile, "--json").out)["data"][0]["path"] == str(hostile)
    missing = gpucv("audit", steps.with_name("\x1b[31mgone"))
    assert missing.code == 2
    assert "\x1b" not in missing.err
