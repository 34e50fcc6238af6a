from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.analysis import (
    EXPERIMENT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    judge,
    mean_rank_std,
    read_recorded,
    top_features,
)
from gpucv.errors import StudyError, TraceError

if TYPE_CHECKING:
    from pathlib import Path

FOLDS = """\
cv_type,holdout,n_train,n_test,valid_mape,test_mape,test_mspe,test_r,experiment_id,model,workload
lomo,NA,30.0,10.0,5.5,12.5,-2.5,0.9,,,
lomo_per_exp,NA,,10,,12.5,-2.5,0.9,e1,NA,007
lomo,b,10.0,30.0,,40.0,1.0,,,,
"""
IMPORTANCE = """\
cv_type,holdout,feature,importance
lomo,NA,x,0.75
lomo,NA,y,0.25
lomo,b,x,0.5
lomo,b,y,0.5
"""


def write(folder: Path, folds: str = FOLDS, importance: str = IMPORTANCE) -> tuple[Path, Path]:
    paths = folder / "folds.csv", folder / "importance.csv"
    paths[0].write_text(folds, encoding="utf-8")
    paths[1].write_text(importance, encoding="utf-8")
    return paths


@pytest.fixture
def published(shared_data: Path) -> tuple[Path, Path]:
    folder = shared_data / "published"
    return folder / "h3_cv_summary.csv", folder / "h3_feature_importance.csv"


@pytest.mark.shared_data
def test_the_published_averages_and_rank_spreads_come_out(published: tuple[Path, Path]) -> None:
    tables = read_recorded(*published)
    (verdict,) = judge(tables.folds)
    averages = {each.scheme: round(each.average_mape, 1) for each in verdict.schemes}
    assert averages == {"lomo": 2559.7, "lowo": 109.7}
    assert verdict.label == "not supported"
    spreads = {
        scheme: round(mean_rank_std(top_features(tables.stability, scheme, "xgboost")), 1)
        for scheme in ("lomo", "lowo")
    }
    assert spreads == {"lomo": 4.1, "lowo": 3.4}


@pytest.mark.shared_data
def test_every_published_row_and_number_is_kept(published: tuple[Path, Path]) -> None:
    tables = read_recorded(*published)
    raw, gains = (pd.read_csv(path) for path in published)
    raw["scheme"] = raw["cv_type"].str.removesuffix("_per_exp")
    per_experiment = raw["cv_type"].str.endswith("_per_exp")
    numbers = ["n_test", "test_mape", "test_mspe", "test_r"]
    for table, rows, keys in (
        (tables.folds, raw[~per_experiment], ["scheme", "holdout"]),
        (tables.experiments, raw[per_experiment], ["scheme", "holdout", "experiment_id"]),
    ):
        assert len(table) == len(rows)
        both = table.merge(rows, on=keys, suffixes=("", "_published"))
        assert len(both) == len(rows)
        for name in numbers:
            assert (both[name] == both[f"{name}_published"]).all()
    assert (len(tables.folds), len(tables.experiments), len(tables.importance)) == (8, 32, 240)
    assert tables.importance["importance"].tolist() == gains["importance"].tolist()


def test_columns_are_those_of_a_run_and_unknown_numbers_are_missing(tmp_path: Path) -> None:
    tables = read_recorded(*write(tmp_path))
    assert list(tables.folds.columns) == list(FOLD_COLUMNS)
    assert list(tables.experiments.columns) == list(EXPERIMENT_COLUMNS)
    assert list(tables.importance.columns) == list(IMPORTANCE_COLUMNS)
    assert tables.folds["n_train"].tolist() == [30, 10]
    assert tables.folds["test_wape"].isna().all()
    assert set(tables.folds["device"]) == {"not recorded"}
    assert tables.importance["rank"].tolist() == [1.0, 2.0, 1.5, 1.5]


def test_names_that_look_like_nothing_or_a_number_stay_names(tmp_path: Path) -> None:
    tables = read_recorded(*write(tmp_path))
    assert tables.folds["holdout"].tolist() == ["NA", "b"]
    assert tables.experiments["workload"].tolist() == ["007"]


@pytest.mark.parametrize(
    ("folds", "importance", "message"),
    [
        ("", IMPORTANCE, r"folds\.csv: the file is empty"),
        (FOLDS, "", r"importance\.csv: the file is empty"),
        (FOLDS.splitlines()[0], IMPORTANCE, r"folds\.csv: a header and no rows"),
        (IMPORTANCE, FOLDS, r"folds\.csv: column 'experiment_id' is missing"),
        (
            FOLDS.replace("test_mape", "test_mpae"),
            IMPORTANCE,
            r"column 'test_mape' is missing; did you mean 'test_mpae'",
        ),
        (FOLDS.replace("40.0", "fast"), IMPORTANCE, r"'test_mape', row 4: 'fast' is not a number"),
        (FOLDS.replace("40.0", "inf"), IMPORTANCE, r"'test_mape', row 4: 'inf' is not a number"),
        (FOLDS.replace("40.0", ""), IMPORTANCE, r"'test_mape' is empty in 1 rows, first for lomo"),
        (FOLDS.replace("lomo,b", "lomo,NA"), IMPORTANCE, "fold lomo / NA stands there more than"),
        (FOLDS.replace("lomo,", "lomo_per_exp,"), IMPORTANCE, "no fold in column 'cv_type'"),
        (FOLDS.replace("lomo_per_exp,NA", "lomo_per_exp,c"), IMPORTANCE, "lomo / c is none of the"),
        (FOLDS, IMPORTANCE.replace("lomo,b", "lowo,b"), "lowo / b is none of the recorded folds"),
        (FOLDS, IMPORTANCE.replace(",y,", ",x,"), "feature 'x' stands more than once"),
        (FOLDS + 'lomo,"c', IMPORTANCE, "not a CSV table"),
    ],
)
def test_a_damaged_file_is_named_with_the_place_of_the_fault(
    tmp_path: Path, folds: str, importance: str, message: str
) -> None:
    with pytest.raises(TraceError, match=message) as error:
        read_recorded(*write(tmp_path, folds, importance))
    assert "\n" not in str(error.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    folds, importance = write(tmp_path)
    folds.write_bytes(b"PAR1\xff\xfe\x00\x80")
    with pytest.raises(TraceError, match=r"folds\.csv: not a"):
        read_recorded(folds, importance)


def test_a_missing_file_is_a_wrong_command_line(tmp_path: Path) -> None:
    folds, importance = write(tmp_path)
    with pytest.raises(StudyError, match=r"absent\.csv: no such file"):
        read_recorded(tmp_path / "absent.csv", importance)
    with pytest.raises(StudyError, match="a folder, not a file"):
        read_recorded(folds, tmp_path)
