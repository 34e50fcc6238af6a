from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from gpucv.catalog import load_catalog
from gpucv.errors import DataError, StudyError
from gpucv.features import build_table
from gpucv.predictors import FitContext, check_params, make_predictor, registration
from gpucv.predictors.trained_physics import (
    BUNDLED,
    TRAINED_PHYSICS_INPUTS,
    TrainedPhysicsParams,
    TrainedPhysicsPredictor,
    physics_terms,
)
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    import pandas as pd

CONTEXT = FitContext(seed=1, threads=1, device="cpu")

# Of inference-sim, sim/latency/trained_physics_dpep_test.go (TestINVBCDP1_...): three prompts
# of 128 tokens, and five decodes whose prompt of 256 and 10 tokens so far are in the cache.
GOLDEN_STEP = {
    "prefill_tokens": 384.0,
    "decode_tokens": 5.0,
    "prefill_requests": 3.0,
    "decode_requests": 5.0,
    "kv_tokens": 5 * 266.0,
    "layers": 32.0,
    "tp": 1.0,
    "hidden_size": 4096.0,
    "kv_width": 1024.0,
    "intermediate_size": 14336.0,
    "experts": 1.0,
    "experts_per_token": 1.0,
    "peak_flops": 989e12,
    "memory_bandwidth": 3.35e12,
}
GOLDEN_US = {1: 7797, 2: 4538, 4: 2909, 8: 2094}


def rows(*steps: dict[str, float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """X of steps that differ from the golden one in what is named."""
    whole = [GOLDEN_STEP | step for step in steps]
    return np.array([[step[name] for name in TRAINED_PHYSICS_INPUTS] for step in whole], np.float32)


def predictor(coefficients: str = "bundled") -> TrainedPhysicsPredictor:
    params = TrainedPhysicsParams.model_validate({"coefficients": coefficients})
    return TrainedPhysicsPredictor(params, CONTEXT)


def terms_of(**changes: float) -> dict[str, float]:
    step = {name: np.array([value]) for name, value in (GOLDEN_STEP | changes).items()}
    return dict(zip(BUNDLED, physics_terms(step)[0].tolist(), strict=True))


@pytest.mark.parametrize(("tp", "expected"), GOLDEN_US.items())
def test_a_step_takes_what_blis_itself_says_cut_to_whole_microseconds(
    tp: int, expected: int
) -> None:
    (predicted,) = predictor().predict(rows({"tp": tp}))
    assert int(predicted) == expected


def test_the_coefficients_are_those_blis_ships() -> None:
    # defaults.yaml, trained_physics_coefficients.beta_coeffs, in its order. The eighth belongs
    # to layers that alternate, the last to data parallelism: no step here has either.
    shipped = [0.152128, 0.0, 1.36252915, 0.752037, 32.09546717, 4.41684444, 126.024825]
    shipped += [481.8613888, 0.0, 1.94710771, 0.752037]
    in_its_order = ("prefill_compute", "decode_compute", "weights", "all_reduce", "layers")
    in_its_order += ("requests", "constant", "", "prefill_kv", "decode_kv")
    ours = {name: shipped[at] for at, name in enumerate(in_its_order) if name}
    assert ours == BUNDLED == predictor().coefficients()


def test_the_terms_of_a_mixture_on_two_gpus_are_the_worked_ones() -> None:
    # Mixtral: 8 experts, 2 per token. 100 prompt tokens of one prompt, 4 decodes over 1,000.
    mixtral = {"experts": 8.0, "experts_per_token": 2.0, "tp": 2.0, "prefill_tokens": 100.0}
    batch = {"prefill_requests": 1.0, "decode_tokens": 4.0, "decode_requests": 4.0}
    found = terms_of(**mixtral, **batch, kv_tokens=1000.0)
    d, v, f, layers = 4096, 1024, 14336, 32
    token_flop = layers * (4 * d * (d + v) + 2 * 6 * d * f)
    prompt_flop = 100 * token_flop + layers * 4 * d * 100 * (100 + 50)
    decode_flop = 4 * token_flop + layers * 4 * d * 1000
    kv_bytes = layers * 2 * v * 2
    weight_bytes = layers * 2 * (2 * d * (d + v) + 8 * 3 * d * f)
    sum_bytes = layers * 2 * 104 * d * 2 * 2
    assert found == pytest.approx(
        {
            "prefill_compute": prompt_flop / 2 / 989e6,
            "prefill_kv": kv_bytes * 100 / 2 / 3.35e6,
            "decode_compute": decode_flop / 2 / 989e6,
            "decode_kv": kv_bytes * (1000 + 4) / 2 / 3.35e6,
            "weights": weight_bytes / 2 / 3.35e6,
            "all_reduce": sum_bytes * (2 - 1) / 2 / 3.35e6,
            "layers": 32,
            "requests": 5,
            "constant": 1,
        },
        rel=1e-12,
    )


def test_a_cache_counts_for_the_requests_that_decode_alone() -> None:
    prefill_only = {"decode_tokens": 0.0, "decode_requests": 0.0}
    assert terms_of(**prefill_only, kv_tokens=9e5) == terms_of(**prefill_only, kv_tokens=0.0)
    assert terms_of(kv_tokens=9e5)["decode_kv"] > terms_of(kv_tokens=0.0)["decode_kv"]


def test_one_gpu_sums_nothing_with_another() -> None:
    assert terms_of(tp=1.0)["all_reduce"] == 0.0
    assert terms_of(tp=8.0)["all_reduce"] > terms_of(tp=2.0)["all_reduce"] > 0


@pytest.mark.parametrize("coefficients", ["bundled", "fitted"])
def test_an_empty_batch_takes_a_microsecond(coefficients: str) -> None:
    empty = dict.fromkeys(
        ("prefill_tokens", "decode_tokens", "prefill_requests", "decode_requests"), 0.0
    )
    made = predictor(coefficients)
    made.fit(rows({}, {"tp": 2}), np.array([900.0, 700.0]), None)
    assert made.predict(rows(empty)).tolist() == [1.0]


def test_bundled_coefficients_learn_nothing() -> None:
    made, asked = predictor(), rows({}, {"tp": 4})
    before = made.predict(asked)
    made.fit(asked, np.array([1.0, -1.0]), None)
    assert made.predict(asked).tolist() == before.tolist()


def many_steps() -> tuple[np.ndarray[Any, np.dtype[np.float32]], dict[str, Any]]:
    generator = np.random.default_rng(5)
    steps = [
        {
            "prefill_tokens": float(generator.integers(0, 2048)),
            "decode_tokens": float(decodes),
            "decode_requests": float(decodes),
            "kv_tokens": float(decodes * generator.integers(1, 4000)),
            "layers": float(generator.choice([32, 48, 80])),
            "tp": float(generator.choice([1, 2, 4])),
            "hidden_size": float(generator.choice([4096, 5120, 8192])),
        }
        for decodes in generator.integers(1, 128, 300)
    ]
    columns = {
        name: np.array([{**GOLDEN_STEP, **step}[name] for step in steps]) for name in GOLDEN_STEP
    }
    return rows(*steps), columns


def test_fitting_to_steps_of_known_coefficients_finds_them() -> None:
    X, _ = many_steps()
    y = predictor().predict(X)
    made = predictor("fitted")
    made.fit(X, y, None)
    assert made.predict(X) == pytest.approx(y, rel=1e-6)
    assert made.coefficients() == pytest.approx(BUNDLED, rel=1e-3, abs=1e-3)


def test_the_fit_is_the_least_relative_error_of_no_negative_coefficient() -> None:
    X, columns = many_steps()
    generator = np.random.default_rng(6)
    y = predictor().predict(X) * np.exp(generator.normal(0, 0.4, len(X))) + 3000.0
    made = predictor("fitted")
    made.fit(X, y, None)
    relative = physics_terms(columns) / y[:, None]
    scale = np.linalg.norm(relative, axis=0)
    least = lsq_linear(relative / scale, np.ones(len(y)), bounds=(0, np.inf), tol=1e-14)
    ours = np.array(list(made.coefficients().values()))
    assert (ours >= 0).all()
    assert (ours == 0).any()
    cost = 0.5 * float(((relative @ ours - 1) ** 2).sum())
    assert cost == pytest.approx(float(least.cost), rel=1e-6)


def test_it_reads_a_step_table(few_steps: pd.DataFrame) -> None:
    raw = {
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"name": "trained-physics"}],
    }
    study = study_from_dict(raw, base=Path()).study
    table = build_table(few_steps, study, load_catalog())
    assert table.feature_names == registration("trained-physics").inputs == TRAINED_PHYSICS_INPUTS
    order = ["experiment_id", "step.id"]
    first = few_steps.sort_values(order, kind="stable").iloc[0]
    read = dict(zip(TRAINED_PHYSICS_INPUTS, table.X[0].tolist(), strict=True))
    shape = {
        "llama-2-7b": (32, 4096, 4096, 11008),
        "codellama-34b": (48, 8192, 1024, 22016),
    }[first["model"]]
    wanted = ("layers", "hidden_size", "kv_width", "intermediate_size")
    assert tuple(read[name] for name in wanted) == shape
    used = first["kv.blocks_total_gpu"] - first["kv.blocks_free_gpu"]
    assert read["kv_tokens"] == 16 * used
    assert read["tp"] == first["tp"]
    assert read["decode_requests"] == first["batch.num_decode_reqs"]
    assert read["peak_flops"] == pytest.approx(989.5e12)
    assert read["memory_bandwidth"] == pytest.approx(3.35e12)
    made = make_predictor("trained-physics", {}, CONTEXT)
    assert (made.predict(table.X) > 500).all()


def test_a_missing_input_is_named() -> None:
    with pytest.raises(DataError, match="'trained-physics' needs 'tp', and 1 of 2 rows have none"):
        predictor().predict(rows({}, {"tp": float("nan")}))


def test_a_logarithm_cannot_be_fitted_to() -> None:
    with pytest.raises(DataError, match=r"'trained-physics' weighs relative errors.*'raw'"):
        predictor("fitted").fit(rows({}, {}), np.array([1.0, -0.5]), None)


def test_other_coefficients_are_refused() -> None:
    with pytest.raises(StudyError, match="coefficients: input should be 'bundled' or 'fitted'"):
        check_params("trained-physics", {"coefficients": "learnt"})
