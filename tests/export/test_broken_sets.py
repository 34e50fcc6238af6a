"""Sets that are damaged, edited or not what they say: one clear line, never a crash."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpucv.errors import DataError, GpucvError, StudyError
from gpucv.export import ArtifactSet
from gpucv.export.boosters import must_survive, open_booster
from gpucv.export.trees import read_forest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "llama-2-7b"


def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of a set."""
    place = root / "manifest.json"
    manifest = json.loads(place.read_bytes())
    change(manifest)
    place.write_text(json.dumps(manifest))


def replace_model(root: Path, content: bytes) -> None:
    """Give the first artifact another model file, its hash made to fit."""
    (root / "models" / "0001.json").write_bytes(content)

    def change(manifest: dict[str, Any]) -> None:
        entry = manifest["artifacts"][0]["model_files"]["json"]
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    edit(root, change)


def refused(root: Path, *, trusted: bool = True, name: str = NAME) -> GpucvError:
    with pytest.raises(GpucvError) as caught:
        ArtifactSet.load(root, trusted=trusted).model(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return caught.value


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert isinstance(error, DataError)
    assert "is" in str(error)
    assert "an artifact set?" in str(error)


@pytest.mark.parametrize("name", ["manifest.json", "models/0001.json", "golden/0001.json"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed", "edited", "grown"])
def test_a_damaged_file_is_told_by_its_name(copied: Path, name: str, damage: str) -> None:
    place = copied / name
    content = place.read_bytes()
    if damage == "removed":
        place.unlink()
    elif damage == "edited" and name != "manifest.json":
        place.write_bytes(content.replace(b"1", b"2", 1))
    elif damage == "edited":
        place.write_bytes(content.replace(b'"rows": 300', b'"rows": -300', 1))
    else:
        new = {"truncated": content[: len(content) // 2], "emptied": b"", "grown": content + b"x"}
        place.write_bytes(new[damage])
    error = refused(copied)
    assert isinstance(error, DataError)
    assert name in str(error)


def test_a_damaged_ubj_is_not_opened(copied: Path) -> None:
    place = copied / "models" / "0001.ubj"
    place.write_bytes(place.read_bytes()[:-100])
    assert "0001.ubj" in str(refused(copied, trusted=True))
    assert ArtifactSet.load(copied).model(NAME).id == "llama-2-7b/h100/tp1"


def test_models_that_changed_places_are_refused(copied: Path) -> None:
    models = copied / "models"
    (models / "0001.json").rename(models / "x")
    (models / "0002.json").rename(models / "0001.json")
    (models / "x").rename(models / "0002.json")
    assert "0001.json" in str(refused(copied))


def test_a_newer_schema_is_refused_with_what_to_do(copied: Path) -> None:
    edit(copied, lambda manifest: manifest.update(schema=2))
    assert "schema 2; this version reads 1; use the gpucv that wrote it" in str(refused(copied))


def test_another_kind_is_refused(copied: Path) -> None:
    edit(copied, lambda manifest: manifest.update(kind="gpucv-run"))
    assert "is of kind 'gpucv-run'" in str(refused(copied))


def test_keys_of_later_versions_are_passed_over(copied: Path) -> None:
    edit(copied, lambda manifest: manifest["artifacts"][0].update(colour="green"))
    assert ArtifactSet.load(copied, trusted=True).model(NAME).entry.trees == 12


@pytest.mark.parametrize(
    "path",
    [
        "../models/0001.json",
        "models/../../steps.parquet",
        "/etc/hostname",
        "models\\0001.json",
        "models//0001.json",
        "./models/0001.json",
        "",
        "models",
        "models/0001.json\0",
    ],
)
def test_a_path_that_leaves_the_set_or_names_no_file_is_refused(copied: Path, path: str) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["artifacts"][0]["model_files"]["json"]["path"] = path

    edit(copied, change)
    assert isinstance(refused(copied), DataError)


def test_a_link_is_no_file_of_a_set(copied: Path, tmp_path: Path) -> None:
    place = copied / "models" / "0001.json"
    shutil.copy(place, tmp_path / "elsewhere.json")
    place.unlink()
    place.symlink_to(tmp_path / "elsewhere.json")
    assert "0001.json" in str(refused(copied))


def test_a_linked_folder_is_none_either(copied: Path, tmp_path: Path) -> None:
    (copied / "models").rename(tmp_path / "models")
    (copied / "models").symlink_to(tmp_path / "models")
    assert "is a link" in str(refused(copied))


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(trees=13),
        lambda e: e.update(base_score=e["base_score"] + 1),
        lambda e: e.update(reference=10**6),
        lambda e: e["features"].pop(),
        lambda e: e["features"][0].update(register=999),
        lambda e: e["features"][0].update(range=[1]),
        lambda e: e["features"][0].update(undefined="none"),
        lambda e: e.update(transform="square"),
        lambda e: e.update(smearing="1.0"),
        lambda e: e["program"]["ops"].append(["system", 0]),
        lambda e: e.update(golden={}),
        lambda e: e.update(id=7),
    ],
)
def test_an_edited_entry_is_refused(copied: Path, change: Callable[[Any], None]) -> None:
    edit(copied, lambda manifest: change(manifest["artifacts"][0]))
    assert isinstance(refused(copied), DataError)


def test_a_missing_model_is_a_fault_of_the_command(copied: Path) -> None:
    assert isinstance(refused(copied, name="gpt-2"), StudyError)


def _change_places(tree: dict[str, Any]) -> None:
    """Exchange the children of the root: XGBoost would look for the right one behind the left."""
    left, right = tree["left_children"], tree["right_children"]
    left[0], right[0] = right[0], left[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t["left_children"].__setitem__(0, 10**6), "not in its tree"),
        (lambda t: t["left_children"].__setitem__(0, -7), "not in its tree"),
        (lambda t: t["right_children"].__setitem__(0, 0), "does not follow"),
        (_change_places, "right child does not follow"),
        (lambda t: t["split_indices"].__setitem__(0, 400), "a feature the model does not have"),
        (lambda t: t["split_conditions"].__setitem__(0, float("nan")), "no finite number"),
        (lambda t: t["split_conditions"].pop(), "do not fit together"),
        (lambda t: t["split_type"].__setitem__(0, 1), "categories"),
        (lambda t: t.pop("default_left"), "KeyError"),
    ],
)
def test_a_tree_that_leads_nowhere_is_refused_before_xgboost_sees_it(
    copied: Path, change: Callable[[Any], None], told: str
) -> None:
    model = json.loads((copied / "models" / "0001.json").read_bytes())
    change(model["learner"]["gradient_booster"]["model"]["trees"][3])
    replace_model(copied, json.dumps(model).encode())
    assert told in str(refused(copied))


def test_a_tree_of_another_output_is_refused_before_xgboost_sees_it(copied: Path) -> None:
    model = json.loads((copied / "models" / "0001.json").read_bytes())
    model["learner"]["gradient_booster"]["model"]["tree_info"][3] = 7
    replace_model(copied, json.dumps(model).encode())
    assert "several numbers" in str(refused(copied))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{}", "KeyError"),
        (b"not json", "JSONDecodeError"),
        (b"[" * 100_000, "cannot read|can read"),
        (b'{"learner": {"gradient_booster": {"name": "dart"}}}', "'dart' model"),
        (b"\xff\xfe\x00", "Unicode|JSONDecode"),
    ],
)
def test_a_file_that_holds_no_trees_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_forest(content)


def test_a_model_with_other_leaves_is_found_out_by_its_golden_rows(copied: Path) -> None:
    model = json.loads((copied / "models" / "0001.json").read_bytes())
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    leaf = tree["left_children"].index(-1)
    tree["split_conditions"][leaf] += 1.0
    replace_model(copied, json.dumps(model).encode())
    assert "golden rows" in str(refused(copied, trusted=False))


def test_a_model_that_ends_the_process_ends_another_one(made_set: Path) -> None:
    """A UBJ cut short may crash whoever reads it: here it must not be this process."""
    content = (made_set / "models" / "0001.ubj").read_bytes()
    golden = ArtifactSet.load(made_set).golden(NAME)
    for cut in (len(content) // 3, len(content) - 40):
        with pytest.raises(DataError):
            must_survive(content[:cut], golden.features, golden.margins)


def test_what_xgboost_refuses_is_one_line_with_its_reason() -> None:
    told = "^XGBoost cannot read the model: Invalid cast, from Integer to Object$"
    with pytest.raises(DataError, match=told):
        open_booster(b'{"learner": 3}')


def test_what_another_process_refuses_is_told_with_its_reason(made_set: Path) -> None:
    golden = ArtifactSet.load(made_set).golden(NAME)
    with pytest.raises(DataError, match=r"XGBoost cannot read the model: [^\[]*get the set again$"):
        must_survive(b'{"learner": 3}', golden.features, golden.margins)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_byte_of_a_set_can_be_changed_without_a_clear_error(
    made_set: Path, tmp_path: Path, data: st.DataObject
) -> None:
    root = tmp_path / "set"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made_set, root)
    name = data.draw(st.sampled_from(["manifest.json", "models/0001.json", "golden/0001.json"]))
    content = bytearray((root / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=4))
    (root / name).write_bytes(content)
    try:
        artifact = ArtifactSet.load(root, trusted=True).model(NAME)
    except GpucvError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    # A number of the manifest may be another one, and still be one.
    assert name == "manifest.json" or (root / name).read_bytes() == (made_set / name).read_bytes()
    assert len(artifact.features(np.zeros((8, 2)))) == 2


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_change_of_a_model_gets_past_the_first_look_but_as_sound_trees(
    made_set: Path, data: st.DataObject
) -> None:
    content = bytearray((made_set / "models" / "0001.json").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=6))
    try:
        forest = read_forest(bytes(content))
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert max(forest.thresholds, default=0) < forest.features
