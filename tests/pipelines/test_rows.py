from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpucv.pipelines import Examples, Inputs, examples_of, fit_pipeline, inputs_of_rows, rows
from gpucv.splits import GroupLabels
from gpucv.study import PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Setting

ROWS = np.array([7, 120, 3, 199])


def test_inputs_have_no_place_for_a_target(table: FeatureTable) -> None:
    assert {each.name for each in fields(Inputs)} == {
        *("matrix", "light", "keys", "rows", "combined", "device_matrix")
    }
    inputs = inputs_of_rows(table, ROWS)
    held = [getattr(inputs, each.name) for each in fields(Inputs)]
    assert not any(each is table.y for each in held)
    assert not any(isinstance(each, np.ndarray) and np.array_equal(each, table.y) for each in held)


@pytest.mark.parametrize("columns", [(0, 1, 2), (2, 0), (1,), ()])
def test_features_are_the_columns_asked_for_in_that_order(
    table: FeatureTable, columns: tuple[int, ...]
) -> None:
    found = inputs_of_rows(table, ROWS).features(columns)
    by_hand = np.array([[table.X[row, column] for column in columns] for row in ROWS])
    np.testing.assert_array_equal(found, by_hand.reshape(4, len(columns)))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


def test_some_rows_taken_keep_their_light_target_and_groups(table: FeatureTable) -> None:
    whole = examples_of(table, ROWS)
    by_place, by_mask = whole.take(np.array([2, 0])), whole.take(np.array([1, 0, 1, 0], bool))
    assert by_place.inputs.rows.tolist() == [3, 7]
    assert by_mask.inputs.rows.tolist() == [7, 3]
    assert isinstance(by_place, Examples)
    assert table.sol_us is not None
    for part in (by_place, by_mask):
        np.testing.assert_array_equal(part.y, table.y[part.inputs.rows])
        np.testing.assert_array_equal(part.inputs.sol_us, table.sol_us[part.inputs.rows])
        assert len(part) == len(part.inputs) == 2


def test_a_group_has_the_same_code_whichever_rows_are_asked(table: FeatureTable) -> None:
    whole = inputs_of_rows(table, np.arange(200)).groups(("gpu", "model"))
    some = inputs_of_rows(table, ROWS).groups(("gpu", "model"))
    assert some.names == whole.names
    assert len(whole.names) == 8
    assert [some.names[code] for code in some.codes] == ["g0 x a", "g0 x c", "g0 x a", "g1 x d"]


def test_groups_are_combined_once_for_all_rows_of_a_table(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    combine = rows.combine
    monkeypatch.setattr(rows, "combine", lambda keys: asked.append(len(keys)) or combine(keys))
    for each in (inputs_of_rows(table, ROWS), inputs_of_rows(table, ROWS[:2])):
        each.groups(("gpu", "model"))
        each.take(np.array([0])).groups(["gpu", "model"])
    assert asked == [2]
    flipped = GroupLabels(1 - table.keys["gpu"].codes, ("g0", "g1"))
    other = replace(table, keys={**table.keys, "gpu": flipped})
    groups = inputs_of_rows(other, ROWS).groups(("gpu", "model"))
    assert [groups.names[code] for code in groups.codes] == ["g1 x a", "g1 x c", "g1 x a", "g0 x d"]


def test_a_predictor_that_takes_codes_for_magnitudes_does_not_get_them(
    table: FeatureTable, setting_of: Callable[..., Setting]
) -> None:
    setting = setting_of(replace(table, labels=("width",)))
    assert setting.columns(PredictorSpec()).names == ("tokens", "width", "noise")
    assert setting.columns(PredictorSpec(name="random-forest")).positions == (0, 1, 2)
    assert setting.magnitudes(PredictorSpec()) == (0, 2)
    ridge = setting.columns(PredictorSpec(name="ridge"))
    assert (ridge.positions, ridge.names) == ((0, 2), ("tokens", "noise"))
    other = np.array(table.X)
    other[:, 1] = np.random.default_rng(0).permutation(other[:, 1])
    recoded = setting_of(replace(table, X=other, labels=("width",)))
    asked = inputs_of_rows(table, ROWS)
    one, two = (
        fit_pipeline(
            PredictorSpec(name="ridge"), examples_of(of.table, np.arange(200)), None, of, asked
        ).predict(replace(asked, matrix=of.table.X))
        for of in (setting, recoded)
    )
    np.testing.assert_array_equal(one, two)


def test_a_table_without_a_speed_of_light_gives_none(table: FeatureTable) -> None:
    assert inputs_of_rows(replace(table, sol_us=None), ROWS).sol_us is None


def test_a_setting_reads_the_layout_of_the_table_alone(
    table: FeatureTable, setting: Setting
) -> None:
    columns = setting.columns(PredictorSpec())
    assert columns.positions == (0, 1, 2)
    assert columns.names == table.feature_names
    assert columns.directions == ()
