"""The examples on transfer run, and what docs/few-shot.md says of them holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import gpucv
from gpucv.study import load_study

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FEWER = {
    "vidur-donors": ("predictors.1.params.grid.n_estimators=[5]",),
    "few-shot-vidur": (
        "schemes.0.few_shot.repeats=2",
        "schemes.1.few_shot.repeats=2",
        "predictors.0.params.n_estimators=60",
    ),
}


@pytest.fixture(scope="module")
def ran(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., gpucv.Result]:
    """Run an example on the first rows of every recording, with less work than it asks for."""

    def run(name: str, limit: int | None = None) -> gpucv.Result:
        more = ("execution.workers=2", "execution.threads_per_fold=1", *FEWER[name])
        where = json.dumps([str(shared_data / "vidur")])
        loaded = load_study(EXAMPLES / f"{name}.toml", (f"data.steps={where}", *more))
        return gpucv.run(loaded, out=tmp_path_factory.mktemp(name) / "run", limit=limit)

    return run


def test_borrowing_has_a_best_donor_that_the_rule_does_not_reach(
    ran: Callable[..., gpucv.Result],
) -> None:
    result = ran("vidur-donors", 40)
    assert set(result.folds["status"]) == {"ok"}
    donors = result.donors
    assert donors is not None
    counts = donors.groupby(["predictor", "holdout", "group"])["donor"].nunique()
    assert set(counts["per-model"]) == {3}
    assert len(counts["per-model"]) == 4
    groups = donors.query("predictor == 'per-table'").groupby("holdout")["group"].nunique()
    assert set(groups) == {8}  # two GPUs, four degrees
    assert set(counts["per-table"]) == {3}  # of the same GPU and degree
    best = donors.groupby(["predictor", "holdout", "group"])["test_mape"].min()
    ruled = donors[donors["by_rule"]].set_index(["predictor", "holdout", "group"])["test_mape"]
    assert (best <= ruled.reindex(best.index)).all()
    assert best["per-table"].mean() < ruled["per-table"].mean()


def test_a_warm_start_is_ahead_where_few_rows_are_measured(
    ran: Callable[..., gpucv.Result],
) -> None:
    result = ran("few-shot-vidur")
    points = result.few_shot
    assert points is not None
    assert set(result.folds["status"]) == {"ok"}
    assert points["reason"].eq("").sum() == points["test_mape"].notna().sum()
    by = ["scheme", "start", "k"]
    mape = points.query("draw == 'random'").groupby(by)["test_mape"].mean()
    for scheme in ("lomo", "leave-one-gpu-out"):
        assert mape[scheme, "warm", 10] < mape[scheme, "alone", 10]
        assert mape[scheme, "alone", 300] < mape[scheme, "alone", 10]
    told = result.next_rows
    assert told is not None
    assert np.isfinite(told["value"]).all()
    assert set(told["feature"]) == set(
        load_study(EXAMPLES / "few-shot-vidur.toml").study.features.columns
    )
