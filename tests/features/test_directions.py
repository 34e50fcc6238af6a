"""What a feature says it does as tokens are added, held against its formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.catalog import load_catalog
from gpucv.features.inputs import inputs_set
from gpucv.features.transfer import transfer_set
from gpucv.frames import PandasColumns

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureSet
    from gpucv.frames import Columns

    Sets = Callable[[Columns], FeatureSet[Any]]

CATALOG = load_catalog()
MORE = np.arange(0, 3000)


def steps(model: str, grows: str) -> pd.DataFrame:
    """Steps of one model that differ in the number of prefill or of decode tokens alone."""
    still = np.full(len(MORE), 64)
    prefill, decode = (MORE, still) if grows == "prefill" else (still, MORE)
    return pd.DataFrame(
        {
            "model": model,
            "gpu": "H100",
            "tp": 2,
            "batch.prefill_tokens": prefill,
            "batch.decode_tokens": decode,
            "batch.scheduled_tokens": prefill + decode,
            "batch.num_prefill_reqs": 3,
            "batch.num_decode_reqs": 64,
            "queue.running_depth": 67,
            "queue.waiting_depth": 0,
            "kv.usage_gpu_ratio": 0.5,
            "kv.blocks_total_gpu": 10_000,
            "kv.blocks_free_gpu": 5_000,
        }
    )


def operators(n: float, k: float) -> pd.DataFrame:
    """Products (m x k) @ (k x n) that differ in m alone."""
    m = MORE + 1.0
    rows = pd.DataFrame({"m": m, "n": n, "k": k, "num_tokens": m, "gpu": "H100"})
    rows = rows.assign(flops=2 * m * n * k, bytes=2 * (m * k + k * n + m * n))
    rows = rows.assign(peak_flops=9.89e14, memory_bandwidth=3.35e12)
    light = np.maximum(rows["flops"] / 9.89e14, rows["bytes"] / 3.35e12) * 1e6
    labels = ("model", "engine", "engine_version", "dtype", "op", "kernel")
    return rows.assign(sol_us=light, **dict.fromkeys(labels, "x"))


def broken(rows: pd.DataFrame, sets: Sets) -> dict[str, str]:
    """The features that do not do what they say."""
    columns = PandasColumns(rows)
    found = sets(columns)
    quantities = found.quantities(columns, CATALOG)
    wrong = {}
    for feature in found.features:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.asarray(feature.formula(quantities), dtype=np.float64)
            change = np.diff(values)
            falls = bool((change < -1e-12 * np.abs(values[1:])).any())
        moves = len(np.unique(values[np.isfinite(values)])) > 1
        if (feature.tokens == "rises" and falls) or (feature.tokens == "fixed" and moves):
            wrong[feature.name] = feature.tokens
    return wrong


@pytest.mark.parametrize("sets", [inputs_set, transfer_set])
@pytest.mark.parametrize("grows", ["prefill", "decode"])
@pytest.mark.parametrize("model", ["llama-2-7b", "llama-2-70b", "mixtral-8x7b-v0-1"])
def test_a_feature_of_a_step_does_with_more_tokens_what_it_says(
    model: str, grows: str, sets: Sets
) -> None:
    assert broken(steps(model, grows), sets) == {}


@pytest.mark.parametrize("sets", [inputs_set, transfer_set])
@pytest.mark.parametrize(("n", "k"), [(11008, 4096), (128, 64), (1, 1)])
def test_a_feature_of_an_operator_does_with_more_tokens_what_it_says(
    n: float, k: float, sets: Sets
) -> None:
    assert broken(operators(n, k), sets) == {}
