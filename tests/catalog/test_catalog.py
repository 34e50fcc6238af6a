from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.catalog import Catalog, ModelSpec, load_catalog, model_from_config_json
from gpucv.errors import DataError, StudyError

if TYPE_CHECKING:
    from pathlib import Path

# The fields that count in a config.json of the dense and the sparse kind.
DENSE = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rope_scaling": None,
    "vocab_size": 32000,
}
SPARSE = DENSE | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("llama-2-70b", "llama-2-70b"),
        ("llama-2-70b-hf", "llama-2-70b"),
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("some-mirror/of/LLAMA-2-70B-HF", "llama-2-70b"),
        (" llama-2-7b ", "llama-2-7b"),
        ("codellama/CodeLlama-34b-Instruct-hf", "codellama-34b"),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b-v0-1"),
        ("mixtral-8x7b", "mixtral-8x7b-v0-1"),
    ],
)
def test_a_model_is_found_by_any_name_recordings_use(
    name: str, entry: str, catalog: Catalog
) -> None:
    assert catalog.models.get(name).name == entry


@pytest.mark.parametrize(
    ("name", "entry"), [("H100", "h100"), ("a100-80gb", "a100"), ("NVIDIA H200", "h200")]
)
def test_a_gpu_is_found_by_any_name_recordings_use(name: str, entry: str, catalog: Catalog) -> None:
    assert catalog.gpus.get(name).name == entry


def test_no_name_belongs_to_two_entries(catalog: Catalog) -> None:
    for index in (catalog.models, catalog.gpus):
        for entry in index.entries():
            assert all(index.get(name) is entry for name in entry.known_names)


@pytest.mark.parametrize("name", ["gpt-5", "", "/", "llama"])
def test_an_unknown_name_is_not_found(name: str, catalog: Catalog) -> None:
    assert catalog.models.find(name) is None


def test_an_unknown_model_is_said_on_one_line_with_the_nearest_and_the_way_to_add_it(
    catalog: Catalog,
) -> None:
    with pytest.raises(DataError) as caught:
        catalog.models.get("org/lama-2-7b")
    assert str(caught.value) == (
        "unknown model 'org/lama-2-7b'; did you mean 'llama-2-7b'?; add it to the study as "
        "[[catalog.models]] (config = 'path/to/config.json')"
    )


def test_an_unknown_gpu_is_said_with_the_way_to_add_it(catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"unknown gpu 'h10'.*'h100'.*as \[\[catalog.gpus\]\]$"):
        catalog.gpus.get("h10")


def entry(name: str, *aliases: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        aliases=aliases,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=8,
        intermediate_size=128,
    )


def test_a_studys_entry_is_known_beside_the_built_in_ones(catalog: Catalog) -> None:
    models = load_catalog([entry("tiny", "tiny-chat")]).models
    assert models.get("org/Tiny-Chat").hidden_size == 64
    assert models.get("llama-2-7b") == catalog.models.get("llama-2-7b")


def test_a_studys_entry_replaces_the_built_in_one_under_every_name_it_had() -> None:
    models = load_catalog([entry("Llama-2-7b")]).models
    assert {models.get(n).hidden_size for n in ("llama-2-7b", "meta-llama/Llama-2-7b-hf")} == {64}
    assert [m.name for m in models.entries()].count("llama-2-7b") == 0


def test_a_studys_entry_may_take_one_alias_and_leave_the_rest() -> None:
    models = load_catalog([entry("mixtral-8x7b")]).models
    assert models.get("mixtral-8x7b").hidden_size == 64
    assert models.get("mixtral-8x7b-v0.1").hidden_size == 4096


def written(folder: Path, config: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def test_a_dense_config_without_key_value_heads_has_as_many_as_attention_heads(
    tmp_path: Path, catalog: Catalog
) -> None:
    found = model_from_config_json("mine", written(tmp_path, DENSE), ("mine-hf",))
    built_in = catalog.models.get("llama-2-7b")
    assert found == built_in.model_copy(
        update={"name": "mine", "aliases": ("mine-hf",), "hf_repo": ""}
    )


def test_a_null_field_counts_as_missing(tmp_path: Path) -> None:
    config = DENSE | {"num_key_value_heads": None, "num_local_experts": None}
    found = model_from_config_json("mine", written(tmp_path, config))
    assert (found.num_key_value_heads, found.num_local_experts) == (32, 1)


def test_a_sparse_config_keeps_its_experts(tmp_path: Path) -> None:
    found = model_from_config_json("mine", written(tmp_path, SPARSE))
    assert (found.num_local_experts, found.num_experts_per_tok, found.kv_width) == (8, 2, 1024)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "config.json is not a JSON file"),
        ("", "config.json is not a JSON file"),
        ("\xff\xfe", "config.json is not a JSON file"),
        ("[" * 100_000, "config.json is not a JSON file"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "config.json is not a JSON file"),
        ("[1]", "holds a list, not a config.json object"),
        ("null", "holds a NoneType, not a config.json object"),
        ("{}", "hidden_size: Field required; num_hidden_layers: Field required"),
        (json.dumps(DENSE | {"hidden_size": "wide"}), "hidden_size: Input should be a valid int"),
        (json.dumps(DENSE | {"hidden_size": 1e999}), "hidden_size: Input should be a finite"),
        (json.dumps(DENSE | {"hidden_size": 4097}), "4097 is not a multiple"),
        # Experts under another name would otherwise pass for a dense layer.
        (json.dumps(DENSE | {"num_experts": 64, "num_experts_per_tok": 8}), "8 exceeds.* 1$"),
    ],
)
def test_a_config_that_describes_no_architecture_is_refused(
    text: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(StudyError, match=f"model 'mine': .*{fault}") as caught:
        model_from_config_json("mine", path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["absent.json", "."])
def test_a_config_that_cannot_be_read_is_named(place: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"model 'mine': cannot read .*: (No such|Is a)"):
        model_from_config_json("mine", tmp_path / place)
