"""Every predictor reads its own columns of one table, as if it were alone with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import DataError, StudyError
from gpucv.features import baseline_of, build_table, required_columns, view_name
from gpucv.features.inputs import inputs_set
from gpucv.folds import plan_folds, run_fold
from gpucv.folds.sharing import shared_table
from gpucv.frames import PandasColumns
from gpucv.pipelines import columns_of, single
from gpucv.predictors import base
from gpucv.study import PredictorSpec, study_from_dict

if TYPE_CHECKING:
    from gpucv.features import FeatureTable
    from gpucv.study import LoadedStudy

TREES = {"n_estimators": 4, "min_child_weight": 1}
OWN = {"params": TREES}
SCHEME = {"name": "lomo", "hold_out": "model"}
TABLES = ("steps", "operators")


def steps() -> pd.DataFrame:
    """Steps of three models; two columns bear the names of inputs and hold something else."""
    draw = np.random.default_rng(9)
    model = np.repeat(["llama-2-7b", "llama-2-70b", "mixtral-8x7b-v0-1"], 40)
    prefill, decode = draw.integers(0, 2000, 120), draw.integers(1, 200, 120)
    return pd.DataFrame(
        {
            "experiment_id": model,
            "model": model,
            "gpu": "H100",
            "tp": 2,
            "step.id": np.tile(np.arange(40), 3),
            "batch.prefill_tokens": prefill,
            "batch.decode_tokens": decode,
            "batch.scheduled_tokens": prefill + decode,
            "batch.num_prefill_reqs": draw.integers(1, 5, 120),
            "batch.num_decode_reqs": decode,
            "queue.running_depth": decode + 3,
            "queue.waiting_depth": 0,
            "kv.usage_gpu_ratio": 0.5,
            "kv.blocks_total_gpu": 10_000,
            "kv.blocks_free_gpu": draw.integers(1000, 9000, 120),
            "tokens": draw.integers(1, 9, 120),
            "prefill_tokens": draw.integers(1, 9, 120),
            "time_us": 500 + 3.0 * prefill + 20 * decode + draw.integers(0, 50, 120),
        }
    )


def operators() -> pd.DataFrame:
    draw = np.random.default_rng(9)
    m = draw.integers(1, 4096, 120).astype(float)
    rows = pd.DataFrame({"model": np.repeat(["a", "b", "c"], 40), "m": m, "num_tokens": m})
    rows = rows.assign(n=4096.0, k=1024.0, gpu="H100", tp=1, op="up", kernel="x", dtype="bf16")
    rows = rows.assign(engine="e", engine_version="1", experiment_id=rows["model"])
    rows = rows.assign(flops=2 * m * 4096 * 1024, bytes=2 * (m * 5120 + 4096 * 1024))
    rows = rows.assign(peak_flops=9.89e14, memory_bandwidth=3.35e12, phase="all")
    light = np.maximum(rows["flops"] / 9.89e14, rows["bytes"] / 3.35e12) * 1e6
    return rows.assign(sol_us=light, time_us=2 * light + 5, **{"step.id": np.arange(120)})


FRAMES = {"steps": steps, "operators": operators}


def built(
    predictors: list[dict[str, Any]], frame: pd.DataFrame, **sections: Any
) -> tuple[LoadedStudy, FeatureTable]:
    raw = {
        "data": {"target": "time_us"},
        "schemes": [SCHEME],
        "predictors": predictors,
        **sections,
    }
    loaded = study_from_dict(raw, base=Path())
    return loaded, build_table(frame, loaded.study, loaded.catalog)


def predicted(study: LoadedStudy, table: FeatureTable) -> list[bytes]:
    """What every fold predicts, scheme's first holdout."""
    found = []
    with shared_table(table):
        for task in plan_folds(study.study, table):
            if task.index == 0:
                record, arrays = run_fold(task)
                assert record.status == "ok", record.error
                assert arrays is not None
                found.append(arrays.predicted.tobytes())
    return found


MIXED: list[dict[str, Any]] = [
    OWN,
    {"name": "blackbox"},
    {**OWN, "label": "transferred", "features": "transfer", "transform": "utilisation"},
    {**OWN, "label": "published", "features": "physics-30"},
    {**OWN, "label": "over", "transform": "ratio", "baseline": "fairbatching"},
    {"name": "constant"},
    {"name": "constant", "label": "lent", "per": "experiment_id", "donor": "nearest"},
    {"name": "roofline"},
]


def test_in_any_company_a_predictor_predicts_what_it_does_alone() -> None:
    features = {"features": {"columns": ["tokens", "prefill_tokens", "queue.running_depth"]}}
    together = predicted(*built(MIXED, steps(), **features))
    assert len(together) == len(MIXED)
    for predictor, found in zip(MIXED, together, strict=True):
        (alone,) = predicted(*built([predictor], steps(), **features))
        assert found == alone, predictor
    backwards = predicted(*built(MIXED[::-1], steps(), **features))
    assert backwards[::-1] == together


def test_a_column_with_the_name_of_an_input_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The table holds a column `prefill_tokens` that is not the batch's."""
    read: dict[str, np.ndarray] = {}
    make = single.make_predictor

    def spied(name: str, *rest: Any) -> Any:
        predictor = make(name, *rest)
        fit = predictor.fit

        def noted(X: np.ndarray, *words: Any) -> None:
            read[name] = X.copy()
            fit(X, *words)

        predictor.fit = noted  # type: ignore[method-assign]
        return predictor

    monkeypatch.setattr(single, "make_predictor", spied)
    frame = steps()
    columns = ["tokens", "prefill_tokens"]
    study, table = built(
        [OWN, {"name": "blackbox"}],
        frame,
        features={"columns": columns},
        validation={"fraction": 0},
    )
    predicted(study, table)
    ordered = frame.sort_values(["experiment_id", "step.id"])
    kept = ordered[ordered["model"] != sorted(ordered["model"].unique())[0]]
    np.testing.assert_array_equal(read["xgboost"], kept[columns])
    batch = kept[["batch.prefill_tokens", "batch.decode_tokens"]]
    np.testing.assert_array_equal(read["blackbox"], batch)
    assert len(set(table.feature_names)) == len(table.feature_names)
    # What the inputs say of tokens is not said of the columns.
    assert "tokens" not in table.tokens


def fixed_forms() -> dict[str, tuple[str, ...]]:
    return {name: each.inputs for name, each in base._registry().items() if each.inputs}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", sorted(fixed_forms()))
def test_a_predictor_of_fixed_form_gets_its_inputs_in_its_own_order_or_a_refusal(
    kind: str, name: str
) -> None:
    wanted = fixed_forms()[name]
    frame = FRAMES[kind]()
    offered = {each.name for each in inputs_set(PandasColumns(frame)).features}
    company = "fairbatching" if kind == "steps" else "roofline"
    predictors = [{"name": company, "label": "company"}, {"name": name}]
    if not set(wanted) <= offered:
        absent = next(each for each in wanted if each not in offered)
        told = f"predictor '{name}': a table of this kind has no '{absent}' to offer"
        with pytest.raises(DataError, match=told):
            built(predictors, frame)
        return
    _, table = built(predictors, frame)
    assert columns_of(PredictorSpec(name=name), table).names == wanted


def test_what_is_not_known_of_a_row_is_missing_and_no_zero() -> None:
    frame = operators()
    frame.loc[::2, "flops"] = np.nan
    _, table = built([{"name": "roofline"}], frame)
    at = table.feature_names.index("compute_us")
    assert np.isnan(table.X[:, at]).sum() == 60
    assert (table.X[~np.isnan(table.X[:, at]), at] > 0).all()


def test_a_table_holds_every_feature_once() -> None:
    _, table = built([*MIXED, {**MIXED[2], "label": "again"}], steps())
    assert len(set(table.feature_names)) == len(table.feature_names) == table.X.shape[1]
    assert set(table.views) == {view_name(PredictorSpec(**each)) for each in MIXED} | {
        "inputs of fairbatching"
    }
    assert table.view("") == tuple(range(30))
    assert table.view("physics-30") == tuple(range(30))


@pytest.mark.parametrize("company", [[], [{"name": "constant"}]], ids=str)
def test_where_all_read_the_studys_features_the_table_has_no_views(
    company: list[dict[str, Any]],
) -> None:
    _, alone = built([OWN], steps())
    _, table = built([OWN, *company, {**OWN, "transform": "log"}], steps())
    assert table.views == {}
    assert table.fingerprint == alone.fingerprint
    assert columns_of(PredictorSpec(name="constant"), table).positions == ()


def test_features_nobody_reads_are_neither_computed_nor_asked_of_the_data() -> None:
    frame = operators().drop(columns="step.id")
    study, table = built([{"name": "roofline"}, {**OWN, "features": "transfer"}], frame)
    assert required_columns(study.study) == ("time_us", "model")
    assert not any(name.startswith("f_") for name in table.feature_names)
    published, _ = built([{"name": "constant"}], steps())
    assert "step.id" in required_columns(published.study)


@pytest.mark.parametrize(
    ("predictors", "known"),
    [
        ([OWN, {**OWN, "transform": "log"}], False),
        ([{**OWN, "transform": "utilisation"}], True),
        ([{**OWN, "transform": "auto"}], True),
        ([{**OWN, "transform": "auto", "choose": {"transform": ["raw", "log"]}}], True),
    ],
)
def test_the_speed_of_light_is_kept_where_a_transform_may_need_it(
    predictors: list[dict[str, Any]], known: bool
) -> None:
    _, table = built(predictors, operators(), features={"columns": ["m"]})
    assert (table.sol_us is not None) == known
    if known:
        np.testing.assert_array_equal(table.sol_us, operators()["sol_us"])


def test_without_a_speed_of_light_auto_does_without_and_utilisation_says_what_is_missing() -> None:
    frame = operators().drop(columns=["sol_us", "flops"])
    columns = {"features": {"columns": ["m"]}}
    assert built([{**OWN, "transform": "auto"}], frame, **columns)[1].sol_us is None
    with pytest.raises(DataError, match="its speed of light is not known"):
        built([{**OWN, "transform": "utilisation"}], frame, **columns)
    named = {**OWN, "transform": "auto", "choose": {"transform": ["raw", "utilisation"]}}
    with pytest.raises(DataError, match="its speed of light is not known"):
        built([named], frame, **columns)


def test_a_table_says_which_features_are_codes_of_labels() -> None:
    launch = {"name": "launch-roofline"}
    transfer = built([{**OWN, "features": "transfer"}, launch], operators())[1]
    assert set(transfer.labels) == {
        *("t_engine", "t_kernel", "gpu_label", "engine_label", "engine_version_label"),
        *("dtype_label", "op_label", "kernel_label", "architecture_label", "compute_label"),
    }
    assert built([{**OWN, "features": "transfer"}], steps())[1].labels == ()


def test_an_unknown_baseline_or_feature_set_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(StudyError, match="unknown predictor 'rofline'; did you mean 'roofline'"):
        built([{**OWN, "transform": "ratio", "baseline": "rofline"}], operators())
    for learner in (OWN, {"name": "roofline"}, {"name": "constant"}):
        with pytest.raises(StudyError, match="no feature set 'transfr'; did you mean 'transfer'"):
            built([{**learner, "features": "transfr"}], operators())


@pytest.mark.parametrize(
    "predictor",
    [
        {"name": "roofline", "features": "transfer"},
        {"name": "constant", "features": "transfer"},
        {"sweep": {"name": ["ridge", "roofline"], "features": ["physics-30", "transfer"]}},
        {"name": "constant", "transform": "ratio", "baseline": "roofline", "features": "transfer"},
    ],
    ids=["form", "constant", "sweep", "form below"],
)
def test_features_named_for_a_predictor_that_would_not_read_them_are_refused(
    predictor: dict[str, Any],
) -> None:
    with pytest.raises(StudyError, match=r"reads inputs of its own; leave features out"):
        built([predictor], steps())


def test_features_may_be_named_for_a_baseline_that_reads_them() -> None:
    over = {"name": "constant", "transform": "ratio", "baseline": "ridge", "features": "transfer"}
    _, table = built([over], steps())
    assert "transfer" in table.views


@pytest.mark.parametrize(("own", "used"), [(None, None), (0, 0), (99, 99)])
def test_a_baseline_draws_by_the_seed_of_its_predictor(own: int | None, used: int | None) -> None:
    over = PredictorSpec(transform="ratio", baseline="random-forest", seed=own)
    assert baseline_of(over).seed == used
