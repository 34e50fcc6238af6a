from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import interp1d

import gpucv
from gpucv.errors import DataError, StudyError
from gpucv.predictors import FitContext, make_predictor

if TYPE_CHECKING:
    from pathlib import Path

PROMPT, TOKEN, MIXED = (1, 0), (0, 1), (1, 1)


def batches(tokens: Any, kind: tuple[int, int]) -> np.ndarray:
    x = np.asarray(tokens, dtype=np.float32)
    return np.column_stack([x, np.full(len(x), kind[0]), np.full(len(x), kind[1])]).astype(
        np.float32
    )


def fitted(X: np.ndarray, y: np.ndarray) -> Any:
    made = make_predictor("splitwise", {}, FitContext(seed=1, threads=1, device="cpu"))
    made.fit(X, y, None)
    assert made.device == "cpu"
    assert made.best_iteration is made.importance() is made.serialize() is None
    return made


def measured(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five repeats at nine sizes, shuffled: tokens, prompt times, token times."""
    generator = np.random.default_rng(seed)
    x = generator.permutation(np.repeat(2.0 ** np.arange(7, 16), 5))
    noise = generator.lognormal(0, 0.05, (2, len(x)))
    return x, (20 + 0.05 * x) * noise[0], (30 + 0.001 * x) * noise[1]


def test_a_curve_is_scipys_line_through_the_medians_and_straight_on_beyond() -> None:
    x, prompt, token = measured()
    made = fitted(
        np.concatenate([batches(x, PROMPT), batches(x, TOKEN)]), np.concatenate([prompt, token])
    )
    asked = np.array([0, 1, 32, 127, 128, 129, 3000, 32_768, 50_000.0])
    for times, kind in ((prompt, PROMPT), (token, TOKEN)):
        medians = pd.Series(times).groupby(x).median()
        curve = interp1d(medians.index, medians, fill_value="extrapolate")
        np.testing.assert_allclose(made.predict(batches(asked, kind)), curve(asked))
        points = medians.index.to_numpy()
        np.testing.assert_allclose(made.predict(batches(points, kind)), medians)


def test_a_mixed_batch_is_the_prompt_curve_times_1_1() -> None:
    x, prompt, token = measured()
    made = fitted(
        np.concatenate([batches(x, PROMPT), batches(x, TOKEN)]), np.concatenate([prompt, token])
    )
    asked = [100, 700, 40_000]
    np.testing.assert_allclose(
        made.predict(batches(asked, MIXED)), 1.1 * made.predict(batches(asked, PROMPT))
    )


def test_a_curve_learnt_from_mixed_batches_gives_their_own_times_back() -> None:
    made = fitted(batches([64, 64, 64, 512], MIXED), np.array([10.0, 11.0, 30.0, 44.0]))
    np.testing.assert_allclose(made.predict(batches([64, 512], MIXED)), [11, 44])
    np.testing.assert_allclose(made.predict(batches([64, 512], PROMPT)), [10, 40])


@pytest.mark.parametrize("kind", [PROMPT, TOKEN])
def test_a_kind_never_seen_is_read_off_the_other_curve(kind: tuple[int, int]) -> None:
    made = fitted(batches([1, 3], kind), np.array([10.0, 30.0]))
    for asked in (PROMPT, TOKEN):
        np.testing.assert_allclose(made.predict(batches([2], asked)), 20)


def test_a_single_point_is_a_constant() -> None:
    made = fitted(batches([5, 5], TOKEN), np.array([10.0, 20.0]))
    assert made.predict(batches([1, 5, 9], TOKEN)).tolist() == [15, 15, 15]


def test_a_batch_without_tokens_is_no_prompt() -> None:
    made = fitted(batches([0, 10], TOKEN), np.array([3.0, 5.0]))
    assert made.predict(np.array([[0, 0, 0]], np.float32)).tolist() == [3]


def test_no_row_gets_no_prediction() -> None:
    assert fitted(batches([1], TOKEN), np.ones(1)).predict(batches([], TOKEN)).shape == (0,)


def test_an_unknown_number_of_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="'splitwise' needs 'curve_tokens', and 1 of 2 rows have"):
        fitted(batches([1, np.nan], TOKEN), np.ones(2))


def test_there_is_nothing_to_set() -> None:
    with pytest.raises(StudyError, match="'splitwise': unknown parameter 'factor'"):
        make_predictor("splitwise", {"factor": 1.1}, FitContext(1, 1, "cpu"))


def test_on_splitwises_own_table_the_medians_come_back(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "splitwise" / "perf_model.csv"
    study = gpucv.load_study(_study(path, tmp_path))
    predictions = gpucv.run(study, out=tmp_path / "run").predictions
    raw = pd.read_csv(path)
    raw["tokens"] = raw["prompt_size"] * raw["batch_size"]
    cells = raw.groupby(["model", "hardware", "tensor_parallel", "tokens"])
    expected = [cells[time].transform("median") * 1000 for time in ("prompt_time", "token_time")]
    times = [raw[time] * 1000 for time in ("prompt_time", "token_time")]
    # Rows of the file in its order, prompt passes first.
    ours = predictions.sort_values("step_id")
    np.testing.assert_allclose(ours["actual"], np.concatenate(times), rtol=1e-12)
    np.testing.assert_allclose(ours["predicted"], np.concatenate(expected), rtol=1e-9)


def _study(path: Path, folder: Path) -> Path:
    study = folder / "study.toml"
    study.write_text(
        f"""
        schema = 1
        name = "splitwise-curves"
        [data]
        steps = ["{path}"]
        format = "splitwise"
        target = "latency_us"
        audit = "off"
        [features]
        columns = ["prompt_size", "batch_size"]
        [validation]
        fraction = 0
        [[schemes]]
        name = "in-sample"
        splitter = "Resubstitution"
        [[predictors]]
        name = "splitwise"
        per = ["model", "gpu", "tp"]
        """,
        encoding="utf-8",
    )
    return study
