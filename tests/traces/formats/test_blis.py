from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

from gpucv.errors import StudyError, TraceError
from gpucv.traces import Importing, format_named, import_tables, read_steps
from gpucv.traces.formats.blis import document
from gpucv.traces.step_table import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import StepTable

GRANITE: dict[str, Any] = {
    "GPU": "H100",
    "alpha_coeffs": [2247.75, 4.25, 2026.5],
    "best_loss": 477.5,
    "beta_coeffs": [8721.25, 4.5, 0.5],
    "id": "ibm-granite/Granite-3.1-8b-instruct",
    "tensor_parallelism": 1,
    "vllm_version": "vllm/vllm-openai:v0.8.4",
}
LLAMA = GRANITE | {
    "GPU": "A100-80",
    "id": "meta-llama/llama-2-70b-hf",
    "beta_coeffs": [4599, 115.75, 6.25],
    "tensor_parallelism": 4,
    "total_kv_blocks": 23_257,
    "vllm_version": "vllm/vllm-openai:v0.10.1.1",
}
PHYSICS = {"alpha_coeffs": [15563.25, 777.5, 46.0], "beta_coeffs": [0.5 + i for i in range(11)]}


@pytest.fixture
def read(tmp_path: Path, catalog: Catalog) -> Callable[..., StepTable]:
    """Write a document, or text as it stands, to defaults.yaml and read it."""

    def write_and_read(content: Any, **options: Any) -> StepTable:
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (tmp_path / "defaults.yaml").write_text(text)
        return read_steps(
            ["defaults.yaml"],
            base=tmp_path,
            catalog=catalog,
            required=[],
            options=ReadOptions(format="blis"),
            **options,
        )

    return write_and_read


def listed(*entries: Any, **others: Any) -> dict[str, Any]:
    return {"models": list(entries), "version": "0.0.1", **others}


def test_every_entry_of_the_list_is_a_row(read: Callable[..., StepTable]) -> None:
    frame = read(listed(GRANITE, LLAMA)).frame
    first, second = (row for _, row in frame.iterrows())
    assert first["model"] == first["model_id"] == "ibm-granite/granite-3.1-8b-instruct"
    assert (second["model"], second["model_id"]) == ("llama-2-70b", "meta-llama/llama-2-70b-hf")
    assert list(frame["gpu"]) == ["h100", "a100"]
    assert list(frame["tp"]) == [1, 4]
    assert list(frame["engine"]) == ["vllm", "vllm"]
    assert list(frame["engine_version"]) == ["0.8.4", "0.10.1.1"]
    assert first["engine_image"] == "vllm/vllm-openai:v0.8.4"
    assert list(frame["form"]) == ["blackbox", "blackbox"]
    assert [first[f"alpha_{i}"] for i in range(3)] == GRANITE["alpha_coeffs"]
    assert [second[f"beta_{i}"] for i in range(3)] == LLAMA["beta_coeffs"]
    assert frame[[f"beta_{i}" for i in range(3, 11)]].isna().all(axis=None)
    assert first["best_loss"] == 477.5
    assert pd.isna(first["total_kv_blocks"])
    assert second["total_kv_blocks"] == 23_257
    assert list(frame["duplicate"]) == [0, 0]
    assert list(frame["source_file"]) == ["defaults.yaml"] * 2


def test_one_set_for_all_models_is_a_row_without_a_model(read: Callable[..., StepTable]) -> None:
    row = read({"trained_physics_coefficients": PHYSICS, "defaults": {}}).frame.iloc[0]
    assert row["form"] == "trained-physics"
    assert [row[f"beta_{i}"] for i in range(11)] == PHYSICS["beta_coeffs"]
    assert pd.isna(row["model_id"])
    assert "model" not in row  # a study can give it one value
    older = read({"trained_physics_coefficients": PHYSICS | {"beta_coeffs": [1.0] * 7}}).frame
    assert older[["beta_7", "beta_10"]].isna().all(axis=None)


def test_sets_of_old_versions_stand_after_the_list(read: Callable[..., StepTable]) -> None:
    four = {"alpha_coeffs": [1, 0, 2], "beta_coeffs": [116.0, 1226.5, 20.0, 9445.0]}
    seven = {"alpha_coeffs": [1, 0, 2], "beta_coeffs": [0.75] * 7}
    frame = read(
        listed(
            GRANITE,
            crossmodel_defaults=four,
            trained_roofline_defaults=seven,
            trained_physics_coefficients=PHYSICS,
        )
    ).frame
    assert list(frame["form"]) == ["blackbox", "trained-physics", "trained-roofline", "crossmodel"]
    assert frame["beta_3"].iloc[3] == 9445.0


def test_repeated_keys_are_marked_and_told(read: Callable[..., StepTable]) -> None:
    shouted = GRANITE | {"id": str(GRANITE["id"]).upper(), "beta_coeffs": [1000.0, 2, 3]}
    table = read(listed(GRANITE, GRANITE | {"tensor_parallelism": 2}, shouted, GRANITE))
    assert list(table.frame["duplicate"]) == [0, 0, 1, 1]
    note = next(note for note in table.notes if note.code == "duplicate_entries")
    assert (note.count, note.level) == (2, "warning")
    assert "2 of 4 entries repeat" in note.message
    assert "1 of them with other coefficients" in note.message


def test_fields_of_other_names_and_repositories_are_kept(read: Callable[..., StepTable]) -> None:
    repositories = {"IBM-Granite/granite-3.1-8B-instruct": {"hf_repo": "ibm-granite/Granite"}}
    frame = read(listed(GRANITE | {"fitted_on": {"runs": 3}}, LLAMA, defaults=repositories)).frame
    assert json.loads(frame["extra"].iloc[0]) == {"fitted_on": {"runs": 3}}
    assert frame["extra"].isna().tolist() == [False, True]
    assert frame["hf_repo"].iloc[0] == "ibm-granite/Granite"
    assert pd.isna(frame["hf_repo"].iloc[1])


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.11.0", "0.11.0"),
        ("localhost:5000/vllm:0.9.1rc1", "0.9.1rc1"),
        ("v0.8.4", "0.8.4"),
        ("vllm/vllm-openai:v0.8.4@sha256:12ab", "0.8.4"),
        ("vllm/vllm-openai:latest", None),
    ],
)
def test_the_version_is_the_tag_of_the_image(
    read: Callable[..., StepTable], image: str, version: str | None
) -> None:
    row = read(listed(GRANITE | {"vllm_version": image})).frame.iloc[0]
    assert row["engine_image"] == image
    assert (None if pd.isna(row["engine_version"]) else row["engine_version"]) == version


def test_numbers_as_go_writes_them_are_numbers(read: Callable[..., StepTable]) -> None:
    text = yaml.safe_dump(listed(GRANITE)).replace("8721.25", "1e-05").replace("4.5", "2E3")
    row = read(text).frame.iloc[0]
    assert (row["beta_0"], row["beta_1"]) == (1e-05, 2000.0)


def test_negative_coefficients_are_read_and_told(read: Callable[..., StepTable]) -> None:
    table = read(listed(GRANITE | {"beta_coeffs": [-5525.0, 1, 1]}, LLAMA))
    note = next(note for note in table.notes if note.code == "negative_coefficients")
    assert note.count == 1
    assert table.frame["beta_0"].iloc[0] == -5525.0


def test_coefficients_in_ms_are_told_where_many_are_so_small(
    read: Callable[..., StepTable],
) -> None:
    def codes(*bases: float) -> list[str]:
        entries = [
            GRANITE | {"beta_coeffs": [base, 1, 1], "tensor_parallelism": 1 << at}
            for at, base in enumerate(bases)
        ]
        return [note.code for note in read(listed(*entries)).notes]

    assert "doubtful_unit" in codes(8.7, 4.6, 0.04)
    assert "doubtful_unit" not in codes(8700.0, 4600.0, 41.8)
    assert "doubtful_unit" not in codes(0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_coeffs": [1, 2]}, r"models\[1\]: beta_coeffs has 2 values; blackbox has 3"),
        ({"beta_coeffs": [1] * 5}, r"models\[1\]: beta_coeffs has 5 values"),
        ({"beta_coeffs": [1] * 12}, r"models\[1\]: beta_coeffs has 12 values, 11 at most"),
        ({"alpha_coeffs": [1, 2]}, r"models\[1\]: alpha_coeffs has 2 values, not 3"),
        ({"alpha_coeffs": 3.5}, r"models\[1\]: alpha_coeffs is 3.5, not a list"),
        ({"beta_coeffs": [1, "two", 3]}, r"models\[1\]: beta_coeffs\[1\] is 'two', not a finite"),
        ({"beta_coeffs": [1, True, 3]}, r"beta_coeffs\[1\] is True, not a finite number"),
        ({"beta_coeffs": [1, 2, float("inf")]}, r"beta_coeffs\[2\] is inf, not a finite"),
        ({"alpha_coeffs": [float("nan"), 2, 3]}, r"alpha_coeffs\[0\] is nan, not a finite"),
        ({"best_loss": "low"}, "best_loss is 'low', not a finite number"),
        ({"tensor_parallelism": "4"}, "tensor_parallelism is '4', not a whole number from 1 up"),
        ({"tensor_parallelism": 0}, "tensor_parallelism is 0, not a whole number from 1 up"),
        ({"total_kv_blocks": -1}, "total_kv_blocks is -1, not a whole number from 0 up"),
        ({"id": 7}, "id is 7, not a name"),
        ({"GPU": None}, "GPU is None, not a name"),
    ],
)
def test_a_wrong_value_is_refused_by_entry_and_field(
    read: Callable[..., StepTable], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError, match=r"^defaults.yaml, .*" + message):
        read(listed(LLAMA, GRANITE | change))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"defaults.yaml is empty \(0 bytes\)"),
        ("# nothing\n", "holds nothing, not a mapping"),
        ("- 1\n- 2\n", r"holds \[1, 2\], not a mapping"),
        ("models: [1, 2\n", "line 2: .*expected"),
        ("models: []\n", "no coefficients: neither models nor trained_physics_coefficients"),
        ("modles: [1]\n", "no coefficients.*; did you mean 'modles'"),
        ("models: {a: 1}\n", "models is {'a': 1}, not a list"),
        ("models: [3]\n", r"models\[0\]: 3 is no map of coefficients"),
        ("models: []\nmodels: []\n", "line 2: key 'models' stands twice"),
        ("models: &a [*a]\n", "line 1: more than 100,000 values"),
        ("models: !!python/name:os.system ''\n", "line 1: could not determine a constructor"),
        ("models: " + "[" * 5000, "nested too deep"),
        ("trained_physics_coefficients: {alpha_coeffs: [1, 2, 3]}\n", "no field 'beta_coeffs'"),
        (
            "trained_physics_coefficients: {alpha_coeffs: [1, 2, 3], beta_coeffs: [1, 2, 3]}\n",
            "beta_coeffs has 3 values; trained-physics has 7 to 11",
        ),
        (
            yaml.safe_dump(listed(GRANITE)).replace("tensor_parallelism", "tensor_paralellism"),
            "no field 'tensor_parallelism'; did you mean 'tensor_paralellism'",
        ),
    ],
)
def test_a_damaged_document_is_refused(
    read: Callable[..., StepTable], content: str, message: str
) -> None:
    with pytest.raises(TraceError, match=message) as refusal:
        read(content)
    assert "\n" not in str(refusal.value)


def test_references_are_followed_up_to_a_number_of_values(
    read: Callable[..., StepTable],
) -> None:
    text = yaml.safe_dump(listed(GRANITE, GRANITE))
    assert "- *id001" in text
    assert list(read(text).frame["duplicate"]) == [0, 1]
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    with pytest.raises(TraceError, match="line 6: more than 100,000 values"):
        read(f"a0: &a0 [1]\n{levels}models: *a9\n")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "defaults.yaml").write_bytes(b"models:\n- id: \xff\xfe\n")
    with pytest.raises(TraceError, match=r"defaults.yaml is not UTF-8 text \(byte 14\)"):
        read_steps(["defaults.yaml"], base=tmp_path, catalog=catalog, required=[])


def test_a_file_too_large_to_be_one_is_refused(
    read: Callable[..., StepTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "LARGEST_FILE", 100)
    with pytest.raises(TraceError, match="is larger than"):
        read(listed(GRANITE))


def test_the_file_is_found_by_name_and_keys(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "config.yaml").write_text("a: 1\n")
    (tmp_path / "hardware_defaults.yaml").write_text("gpus: [h100]\n")
    (tmp_path / "my-defaults.yml").write_text(yaml.safe_dump(listed(GRANITE)))
    table = read_steps(["."], base=tmp_path, catalog=catalog, required=["beta_0"])
    assert [source.kind for source in table.sources] == ["blis"]
    with pytest.raises(StudyError, match=r"hardware_defaults.yaml is no"):
        read_steps(["hardware_defaults.yaml"], base=tmp_path, catalog=catalog, required=[])


def test_an_import_reads_like_the_file(
    read: Callable[..., StepTable], tmp_path: Path, catalog: Catalog
) -> None:
    direct = read(listed(GRANITE, LLAMA, GRANITE, trained_physics_coefficients=PHYSICS))
    how = Importing(format_named("blis"), catalog)
    imported = import_tables(["defaults.yaml"], tmp_path / "out.parquet", base=tmp_path, how=how)
    table = read_steps(["out.parquet"], base=tmp_path, catalog=catalog, required=[])
    pd.testing.assert_frame_equal(table.frame, direct.frame)
    assert imported.rows == 4
    assert imported.sources == direct.sources
    assert "duplicate_entries" in [note.code for note in table.notes]
