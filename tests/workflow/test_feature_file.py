from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.features.physics30 import FEATURES
from gpucv.study import study_from_dict
from gpucv.workflow.feature_file import write_features

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.workflow.feature_file import WrittenFeatures


@pytest.fixture
def write(study: dict[str, Any], tmp_path: Path) -> Callable[..., WrittenFeatures]:
    def start(out: str = "features.parquet", limit: int | None = None) -> WrittenFeatures:
        return write_features(study_from_dict(study, base=tmp_path), tmp_path / out, limit)

    return start


def test_features_stand_between_the_labels_and_the_target(
    write: Callable[..., WrittenFeatures], tmp_path: Path, few_steps: pd.DataFrame
) -> None:
    written = write()
    table = pd.read_parquet(tmp_path / "features.parquet")
    names = [feature.name for feature in FEATURES]
    assert list(written.names) == names
    assert table.columns.tolist() == [
        *("experiment_id", "step.id", "model", "workload"),
        *names,
        "step.duration_us",
    ]
    assert written.rows == len(table) == len(few_steps)
    assert set(table[names].dtypes.astype(str)) == {"float64"}


def test_rows_are_in_experiment_and_step_order(
    write: Callable[..., WrittenFeatures], tmp_path: Path
) -> None:
    write()
    table = pd.read_parquet(tmp_path / "features.parquet")
    key = ["experiment_id", "step.id"]
    pd.testing.assert_frame_equal(table, table.sort_values(key, ignore_index=True))


def test_a_limit_keeps_the_first_steps_of_every_experiment(
    write: Callable[..., WrittenFeatures], tmp_path: Path, few_steps: pd.DataFrame
) -> None:
    assert write(limit=3).rows == 12
    table = pd.read_parquet(tmp_path / "features.parquet")
    first = few_steps.sort_values("step.id").groupby("experiment_id")["step.id"].head(3)
    assert sorted(table["step.id"]) == sorted(first)


@pytest.mark.parametrize("out", ["no/such/folder/features.parquet", "steps.parquet/features"])
def test_a_place_that_cannot_be_written_is_a_fault_of_the_machine(
    out: str, write: Callable[..., WrittenFeatures]
) -> None:
    with pytest.raises(EnvironmentFaultError, match="cannot write"):
        write(out)
