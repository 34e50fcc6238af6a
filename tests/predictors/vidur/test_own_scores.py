"""The example that scores Vidur's forests four ways, on two models of one GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

import gpucv
from gpucv.study import load_study

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "vidur-own-scores.toml"
TREES = 5


@pytest.fixture(scope="module")
def result(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> gpucv.Result:
    steps = json.dumps([str(shared_data / "vidur" / "a100" / "meta-llama")])
    loaded = load_study(
        EXAMPLE,
        (
            f"data.steps={steps}",
            f"predictors.0.params.grid.n_estimators=[{TREES}]",
            "execution.workers=2",
            "execution.threads_per_fold=1",
        ),
    )
    return gpucv.run(loaded, out=tmp_path_factory.mktemp("own-scores") / "run")


@pytest.fixture(scope="module")
def table(shared_data: Path) -> pd.DataFrame:
    """Llama-2-7B's up projection on one A100: tokens, from few to many, and median us."""
    path = shared_data / "vidur" / "a100" / "meta-llama" / "Llama-2-7b-hf" / "mlp.csv"
    raw = pd.read_csv(path)
    raw = raw[raw["num_tensor_parallel_workers"] == 1]
    raw = raw.sort_values("num_tokens", kind="stable")
    us = 1000 * raw["time_stats.mlp_up_proj.median"]
    return pd.DataFrame({"tokens": raw["num_tokens"], "us": us}).reset_index(drop=True)


def scores_of_table(result: gpucv.Result, scheme: str) -> list[float]:
    of = result.experiments.query("scheme == @scheme and experiment_id.str.contains('llama-2-7b')")
    return of[of["experiment_id"].str.endswith(" / 1")]["test_mape"].tolist()


def forest_error(table: pd.DataFrame, fit: np.ndarray, held: np.ndarray) -> float:
    # Vidur's profiles go from the most tokens to the fewest.
    learnt = table.iloc[fit].sort_values(["tokens", "us"], ascending=[False, True])
    forest = RandomForestRegressor(TREES, max_depth=16, min_samples_split=2, random_state=42)
    forest.fit(learnt[["tokens"]].to_numpy(), learnt["us"])
    asked = table.iloc[held]
    found = forest.predict(asked[["tokens"]].to_numpy())
    return float(np.mean(np.abs(found / asked["us"] - 1)) * 100)


def test_an_error_grows_with_the_distance_from_the_rows_fitted_to(result: gpucv.Result) -> None:
    assert set(result.folds["status"]) == {"ok"}
    mean = result.folds.groupby("scheme")["test_mape"].mean()
    assert mean["in-sample"] < mean["shuffled"] < mean["contiguous"] < mean["lomo"]
    assert mean["in-sample"] < 1.5
    assert mean["contiguous"] > 3 * mean["shuffled"]


def test_in_sample_is_every_row_fitted_to_and_asked(
    result: gpucv.Result, table: pd.DataFrame
) -> None:
    (fold,) = result.folds.query("scheme == 'in-sample'").to_dict("records")
    assert fold["n_train"] == fold["n_test"] == result.manifest["rows"] == 8 * len(table)
    everything = np.arange(len(table))
    (ours,) = scores_of_table(result, "in-sample")
    assert ours == pytest.approx(forest_error(table, everything, everything), rel=1e-6)


def test_contiguous_parts_are_ranges_of_tokens_of_each_table(
    result: gpucv.Result, table: pd.DataFrame
) -> None:
    theirs = [forest_error(table, *parts) for parts in KFold(10).split(table)]
    assert scores_of_table(result, "contiguous") == pytest.approx(theirs, rel=1e-6)


def test_the_table_of_the_same_degree_is_the_donor_of_a_model_never_seen(
    result: gpucv.Result,
) -> None:
    kept = [json.loads(path.read_text()) for path in result.path.glob("folds/*/result.json")]
    lomo = [each for each in kept if each["scheme"] == "lomo"]
    assert len(lomo) == 2
    for fold in lomo:
        donors = pd.DataFrame(fold["donors"])
        assert len(donors) == 4  # degrees of one model, each answered for by the other's
        assert donors["by_rule"].all()
        assert (donors["group"] != donors["donor"]).all()
        settled = [donors[name].str.split(" x ").str[1:].tolist() for name in ("group", "donor")]
        assert settled[0] == settled[1]
