"""Coefficients for BLIS v0.7.10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gpucv.catalog import load_catalog
from gpucv.errors import DataError, StudyError
from gpucv.export.blis import blis_entry, write_blis
from gpucv.export.configurations import configurations_of
from gpucv.study import Study

if TYPE_CHECKING:
    from pathlib import Path

# The fields of its Go struct `Model`: its parser takes no others.
FIELDS = {"GPU", "alpha_coeffs", "beta_coeffs", "id", "tensor_parallelism", "vllm_version"}


def recorded(model: str = "llama-2-7b", gpu: str = "h100") -> pd.DataFrame:
    """Steps of 5000 + 3 us a prompt token + 40 us an output token, exactly."""
    rng = np.random.default_rng(1)
    prefill, decode = rng.integers(0, 2000, 100), rng.integers(1, 200, 100)
    return pd.DataFrame(
        {
            "experiment_id": f"{model} on {gpu}",
            "model": model,
            "gpu": gpu,
            "tp": 2,
            "batch.prefill_tokens": prefill,
            "batch.decode_tokens": decode,
            "step.duration_us": 5000.0 + 3.0 * prefill + 40.0 * decode,
        }
    )


def requests() -> pd.DataFrame:
    """Requests that wait 700 us + 2 us a prompt token, and 9 us for each output token."""
    rng = np.random.default_rng(2)
    prompt, output = rng.integers(1, 3000, 60), rng.integers(1, 500, 60)
    arrived = np.arange(60) * 10**9
    queued = arrived + (700 + 2 * prompt) * 1000
    return pd.DataFrame(
        {
            "experiment_id": "llama-2-7b on h100",
            "prompt_tokens": prompt,
            "output_tokens": output,
            "api_arrived_ns": arrived,
            "queued_ns": queued,
            "finished_ns": queued + 5 * 10**9,
            "api_departed_ns": queued + 5 * 10**9 + 9 * output * 1000,
        }
    )


def entry(frame: pd.DataFrame, version: str = "0.15.1", asked: pd.DataFrame | None = None) -> Any:
    catalog = load_catalog()
    (configuration,) = configurations_of(frame, catalog)
    return blis_entry(configuration, frame, Study(), catalog, version, asked)


def test_exact_laws_give_their_own_coefficients() -> None:
    found = entry(recorded(), asked=requests())
    np.testing.assert_allclose(found.beta, [5000, 3, 40], rtol=1e-9)
    np.testing.assert_allclose(found.alpha, [700, 2, 9], rtol=1e-9)
    assert found.mape == pytest.approx(0, abs=1e-9)
    assert found.requests == 60


def test_no_coefficient_is_below_zero() -> None:
    frame = recorded()
    found = entry(frame.assign(**{"step.duration_us": 9000.0 - frame["batch.prefill_tokens"]}))
    assert min(found.beta) >= 0


def test_an_entry_has_the_names_blis_looks_up() -> None:
    item = entry(recorded("mixtral-8x7b", "A100-80"), "v0.8.4").item()
    assert set(item) == FIELDS
    assert item["id"] == "mistralai/mixtral-8x7b-v0.1"
    assert item["GPU"] == "A100-80"
    assert item["vllm_version"] == "vllm/vllm-openai:v0.8.4"
    assert item["tensor_parallelism"] == 2


def test_an_image_is_taken_as_it_is() -> None:
    assert entry(recorded(), "registry/vllm:nightly").vllm_version == "registry/vllm:nightly"


def test_the_recorded_version_is_taken_where_none_is_named() -> None:
    found = entry(recorded().assign(engine_version="0.15.1"), version="")
    assert found.vllm_version == "vllm/vllm-openai:v0.15.1"
    with pytest.raises(StudyError, match="--vllm-version"):
        entry(recorded(), version="")


def test_the_file_holds_what_was_fitted_and_reads_back(tmp_path: Path) -> None:
    entries = [entry(recorded(), asked=requests()), entry(recorded("codellama-34b"))]
    snippet = write_blis(tmp_path / "defaults.yaml", entries, load_catalog())
    document = yaml.safe_load((tmp_path / "defaults.yaml").read_text())
    assert set(document) == {"defaults", "models", "version"}
    assert document["models"] == [each.item() for each in entries] == yaml.safe_load(snippet)
    for each in entries:
        assert document["defaults"][each.model_id]["tensor_parallelism"] == 2
    assert snippet.startswith("# held-out MAPE 0.0 % (fifths of 100 consecutive steps); alpha: 60")
    assert "alpha: not fitted: no requests given" in snippet


def test_steps_without_tokens_are_refused() -> None:
    frame = recorded()
    frame.loc[3, "batch.prefill_tokens"] = np.nan
    with pytest.raises(DataError, match="prefill and decode tokens"):
        entry(frame)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.drop(columns="queued_ns"), "no column 'queued_ns'"),
        (lambda r: r.assign(experiment_id="another"), "no complete request"),
    ],
)
def test_requests_that_say_nothing_are_refused(change: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        entry(recorded(), asked=change(requests()))
