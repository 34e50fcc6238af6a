from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gpucv.errors import StudyError
from gpucv.study import LoadedStudy, Study, load_study, study_from_dict, study_to_toml

# The example that documents the format.
EXAMPLE = """
schema = 1
name = "h3-generalization"
seed = 42
[data]
steps = ["data/study.parquet"]        # files, folders, globs; any mix of supported sources
target = "step.duration_us"
audit = "stop"                         # a failed audit: stop | warn | off
[features]
set = "physics-30"                     # or columns = ["a", "b"]
[validation]
fraction = 0.25
order = "experiment"                   # or "time": the tail of every experiment
early_stopping_rounds = 0              # 0 = none, as published
[[schemes]]
name = "lomo"
hold_out = "model"
[[schemes]]
name = "lowo"
hold_out = "workload"
[[predictors]]
name = "xgboost"
transform = "raw"
params = { max_depth = 6, n_estimators = 300, learning_rate = 0.05, min_child_weight = 5, \
subsample = 0.8, colsample_bytree = 0.8 }
[verdict]
mape_max = 25.0
[execution]
device = "auto"
"""


def loaded(raw: dict[str, Any], *overrides: str) -> LoadedStudy:
    return study_from_dict(raw, base=Path(), overrides=overrides)


def study(raw: dict[str, Any], *overrides: str) -> Study:
    return loaded(raw, *overrides).study


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(EXAMPLE)
    return path


def test_the_documented_example_loads(file: Path) -> None:
    found = load_study(file)
    assert found.base == file.parent
    assert found.study.name == "h3-generalization"
    assert found.study.data.steps == ("data/study.parquet",)
    assert found.study.data.audit == "stop"
    assert found.study.predictors[0].params["learning_rate"] == 0.05
    # But for its name, its data and the written-out parameters it is the default.
    rest = {"name": "study", "data": Study().data, "predictors": Study().predictors}
    assert found.study.model_copy(update=rest) == Study()


FULL = tomllib.loads(EXAMPLE) | {
    "features": {"columns": ["a", "b"]},
    "schemes": [
        {"name": "pairs", "hold_out": ["model", "gpu"], "p": 2},
        {"name": "random", "splitter": "KFold", "params": {"n_splits": 5, "shuffle": True}},
    ],
    "catalog": {
        "gpus": [
            {
                "name": "x1",
                "peak_bf16_flops": 1e15,
                "memory_bandwidth": 1e12,
                "bandwidth_efficiency": 0.5,
                "memory_bytes": 10**11,
            }
        ],
        "models": [
            {
                "name": "m",
                "hidden_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 8,
                "intermediate_size": 128,
            }
        ],
    },
}
FULL["data"] |= {"constants": {"gpu": "x1", "tp": 2, "share": 0.5}}


@pytest.mark.parametrize(
    "raw", [{}, tomllib.loads(EXAMPLE), FULL], ids=["empty", "example", "full"]
)
def test_a_study_written_out_and_read_again_is_the_same(raw: dict[str, Any]) -> None:
    first = study(raw)
    text = study_to_toml(first)
    assert study(tomllib.loads(text)) == first
    assert study_to_toml(study(tomllib.loads(text))) == text


def test_loading_leaves_the_callers_dict_alone() -> None:
    raw = {"verdict": {"mape_max": 50.0}}
    study(raw, "verdict.mape_max=60.0", "name=x")
    assert raw == {"verdict": {"mape_max": 50.0}}


def test_the_catalog_of_a_study_knows_what_the_study_adds() -> None:
    catalog = loaded(FULL).catalog
    assert catalog.gpus.get("x1").machine_balance == 2000
    assert catalog.models.get("m").num_key_value_heads == 8
    assert catalog.models.find("llama-2-7b") is not None


def test_a_model_from_a_config_file_becomes_part_of_the_study(tmp_path: Path) -> None:
    shape = {k: v for k, v in FULL["catalog"]["models"][0].items() if k != "name"}
    (tmp_path / "config.json").write_text(json.dumps(shape))
    entry = {"name": "m", "config": "config.json", "aliases": ["m-chat"]}
    found = study_from_dict({"catalog": {"models": [entry]}}, base=tmp_path)
    assert found.catalog.models.get("m-chat").hidden_size == 64
    # Written into a run folder it must not look for the file there.
    (tmp_path / "config.json").unlink()
    moved = study_from_dict(tomllib.loads(study_to_toml(found.study)), base=tmp_path / "elsewhere")
    assert moved.catalog.models.get("m") == found.catalog.models.get("m")
    assert moved.study == found.study


def test_a_model_from_a_config_file_and_from_fields_is_refused() -> None:
    entry = {"name": "m", "config": "config.json", "vocab_size": 5}
    with pytest.raises(StudyError, match=r"catalog.models: 'm' has both config and vocab_size"):
        loaded({"catalog": {"models": [entry]}})


def test_a_model_that_lacks_fields_is_refused_by_name() -> None:
    with pytest.raises(StudyError, match=r"catalog.models: 'm': hidden_size: field required"):
        loaded({"catalog": {"models": [{"name": "m"}]}})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"seed = ", "is not a TOML file"),
        (b"seed = 1\nseed = 2", "is not a TOML file: Cannot overwrite a value"),
        (b"[data]\n[data]", "is not a TOML file"),
        (b"\xff\xfes\x00", "is not a TOML file: 'utf-8' codec can't decode"),
        (b"name = '\x00'", "is not a TOML file"),
        (b"seed = " + b"9" * 5000, "is not a TOML file: Exceeds the limit"),
        (b"seed = 0x" + b"f" * 5000, "holds a value that no key accepts: Exceeds the limit"),
        (b"seed = " + b"[" * 5000, "is nested too deeply to be a study"),
        (b".".join([b"a"] * 5000) + b" = 1", "is nested too deeply to be a study"),
        (b"#" * 2_000_000, "is too large for a study file, which has at most 1,000,000 bytes"),
        (b"seed = 2026-01-01", "seed: input should be a valid integer, found '2026-01-01'"),
        (b"[verdict]\nmape_max = nan", "verdict.mape_max: input should be a finite number"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_damaged_file_is_refused_by_name(content: bytes, fault: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(StudyError, match=fault) as caught:
        load_study(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "fault"),
    [("absent.toml", "No such file"), (".", "Is a directory"), ("nul\0", "embedded null byte")],
)
def test_a_file_that_cannot_be_read_is_named(name: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=f"cannot read the study .*: {fault}"):
        load_study(tmp_path / name)


def test_reading_stops_at_the_limit_even_where_a_file_has_no_end() -> None:
    with pytest.raises(StudyError, match="is too large"):
        load_study("/dev/zero")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(file: Path) -> None:
    plain = load_study(file).study
    file.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    assert load_study(file).study == plain


def test_an_empty_file_is_the_default_study(file: Path) -> None:
    file.write_text("")
    assert load_study(file).study == Study()
