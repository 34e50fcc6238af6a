"""Coefficients for BLIS, as a ``defaults.yaml`` of its v0.7.10 has them.

A step takes ``beta_0 + beta_1 * prefill tokens + beta_2 * decode tokens`` us. Around the
steps, ``alpha_0 + alpha_1 * input tokens`` us pass before a request is in the queue, and
``alpha_2`` us for each output token; only a recording of requests tells these.

Source: inference-sim v0.7.10, ``cmd/default_config.go`` (its parser takes no other keys) and
``sim/latency/latency.go``. Later versions have no coefficients per LLM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError, StudyError
from gpucv.export.coefficients import fit_blackbox
from gpucv.export.formulas import inputs_of_frame
from gpucv.predictors.least_squares import least_squares
from gpucv.runs import atomic_write
from gpucv.schema import EXPERIMENT, TP
from gpucv.traces import ReadOptions, read_steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from gpucv.catalog import Catalog
    from gpucv.export.configurations import Configuration
    from gpucv.study import Study

__all__ = ["BlisEntry", "blis_entry", "write_blis"]

_GPUS = {"a100": "A100-80"}
"""GPUs BLIS calls otherwise than by the catalog's name in capitals."""
_REQUEST_TIMES = ("api_arrived_ns", "queued_ns", "finished_ns", "api_departed_ns")
_REQUEST_COLUMNS = (EXPERIMENT, "prompt_tokens", "output_tokens", *_REQUEST_TIMES)
_VERSION = "0.0.1"
"""Of the file, as BLIS ships it."""


@dataclass(frozen=True, slots=True)
class BlisEntry:
    """Coefficients of one configuration.

    Attributes
    ----------
    model_id, gpu, vllm_version : str
        As BLIS looks them up.
    tp : int
    hf_repo : str
        "" where the catalog knows none.
    alpha, beta : tuple of float
        us; alpha is zeros where no requests told it.
    steps, requests : int
        What they were fitted to.
    mape : float or None
        Of steps not fitted to, percent; see `gpucv.export.coefficients.held_out_mape`.
    """

    model_id: str
    gpu: str
    tp: int
    vllm_version: str
    hf_repo: str
    alpha: tuple[float, float, float]
    beta: tuple[float, float, float]
    steps: int
    requests: int
    mape: float | None

    def item(self) -> dict[str, Any]:
        """Return the entry of the list ``models``."""
        return {
            "GPU": self.gpu,
            "alpha_coeffs": list(self.alpha),
            "beta_coeffs": list(self.beta),
            "id": self.model_id,
            "tensor_parallelism": self.tp,
            "vllm_version": self.vllm_version,
        }

    def snippet(self) -> str:
        """Return the entry as YAML, with what it scored as a comment."""
        import yaml

        error = "not known" if self.mape is None else f"{self.mape:.1f} %"
        alpha = f"{self.requests:,} requests" if self.requests else "not fitted: no requests given"
        comment = (
            f"# held-out MAPE {error} (fifths of {self.steps:,} consecutive steps); alpha: {alpha}"
        )
        item: str = yaml.safe_dump([self.item()], sort_keys=False)
        return f"{comment}\n{item}"


def blis_entry(
    configuration: Configuration,
    frame: pd.DataFrame,
    study: Study,
    catalog: Catalog,
    vllm_version: str,
    requests: pd.DataFrame | None,
) -> BlisEntry:
    """Fit the coefficients of one configuration, none below 0.

    Parameters
    ----------
    configuration : Configuration
    frame : DataFrame
        All rows.
    study : Study
        Names the columns of times and recordings.
    catalog : Catalog
    vllm_version : str
        The version or image; "" takes what the rows say.
    requests : DataFrame or None
        What ``gpucv import otel-requests`` makes of the same recordings.

    Raises
    ------
    DataError
        If some step does not say its tokens, or no request belongs to the configuration.
    StudyError
        If the version is not known.
    """
    rows = frame.iloc[configuration.rows]
    fitted = fit_blackbox(inputs_of_frame(rows), rows[study.data.target].to_numpy(dtype=np.float64))
    if fitted is None:
        msg = f"{configuration.id}: some steps do not say their prefill and decode tokens"
        raise DataError(msg)
    image = _image(vllm_version or configuration.engine_version)
    if not image:
        msg = (
            f"{configuration.id}: BLIS looks coefficients up by the version of vLLM, and the rows "
            "do not say it; add --vllm-version 0.15.1, say"
        )
        raise StudyError(msg)
    spec = catalog.models.find(configuration.model)
    repository = spec.hf_repo if spec else ""
    alpha, used = _alpha(configuration, rows[study.data.experiment], requests)
    return BlisEntry(
        model_id=(repository or configuration.model).lower(),
        gpu=_GPUS.get(configuration.gpu, configuration.gpu.upper()),
        tp=configuration.tp,
        vllm_version=image,
        hf_repo=repository,
        alpha=alpha,
        beta=fitted.beta_us,
        steps=len(rows),
        requests=used,
        mape=fitted.mape,
    )


def _image(version: str) -> str:
    """Return the image BLIS names: a bare version is that of vLLM's own."""
    version = version.strip()
    if not version or ":" in version:
        return version
    return f"vllm/vllm-openai:v{version.removeprefix('v')}"


def _alpha(
    configuration: Configuration, recordings: pd.Series[str], requests: pd.DataFrame | None
) -> tuple[tuple[float, float, float], int]:
    """Return the time before the queue, and for each output token, and how many requests say."""
    if requests is None:
        return (0.0, 0.0, 0.0), 0
    absent = [name for name in _REQUEST_COLUMNS if name not in requests.columns]
    if absent:
        msg = f"the requests have no column {absent[0]!r}; make them by gpucv import otel-requests"
        raise DataError(msg)
    mine = requests[requests[EXPERIMENT].astype(str).isin(set(recordings.astype(str)))]
    mine = mine.dropna(subset=list(_REQUEST_COLUMNS))
    if mine.empty:
        msg = f"{configuration.id}: no complete request of its recordings is among the requests"
        raise DataError(msg)
    times = {name: mine[name].to_numpy(dtype=np.int64) for name in _REQUEST_TIMES}
    before = (times["queued_ns"] - times["api_arrived_ns"]) / 1e3
    after = (times["api_departed_ns"] - times["finished_ns"]) / 1e3
    prompt = mine["prompt_tokens"].to_numpy(dtype=np.float64)
    output = mine["output_tokens"].to_numpy(dtype=np.float64)
    A = np.column_stack([np.ones(len(mine)), prompt])
    a0, a1 = least_squares(A, before, nonnegative=True).tolist()
    (a2,) = least_squares(output[:, None], after, nonnegative=True).tolist()
    return (a0, a1, a2), len(mine)


def write_blis(out: Path, entries: Sequence[BlisEntry], catalog: Catalog) -> str:
    """Write a ``defaults.yaml``, read it back, and return its list of coefficients as YAML.

    Raises
    ------
    EnvironmentFaultError
        If it cannot be written.
    DataError
        If gpucv's own reader of such files finds other coefficients in it.
    """
    import yaml

    first: dict[str, BlisEntry] = {}
    for entry in entries:
        first.setdefault(entry.model_id, entry)
    defaults = {
        name: {
            "GPU": entry.gpu,
            "tensor_parallelism": entry.tp,
            "vllm_version": entry.vllm_version,
            **({"hf_repo": entry.hf_repo} if entry.hf_repo else {}),
        }
        for name, entry in first.items()
    }
    snippet = "".join(entry.snippet() for entry in entries)
    head = yaml.safe_dump({"defaults": defaults}, sort_keys=False)
    atomic_write(out, f"{head}models:\n{snippet}version: {_VERSION}\n")
    _must_read_back(out, entries, catalog)
    return snippet


def _must_read_back(out: Path, entries: Sequence[BlisEntry], catalog: Catalog) -> None:
    options = ReadOptions("blis")
    frame = read_steps(
        (str(out.absolute()),), base=out.parent, catalog=catalog, required=(), options=options
    ).frame
    found = [
        (
            *(str(row["model_id"]), int(row[TP]), str(row["engine_image"])),
            tuple(float(row[f"alpha_{at}"]) for at in range(3)),
            tuple(float(row[f"beta_{at}"]) for at in range(3)),
        )
        for row in frame.to_dict("records")
    ]
    written = [(e.model_id, e.tp, e.vllm_version, e.alpha, e.beta) for e in entries]
    if found != written:
        msg = f"{out} does not read back as it was written; do not use it"
        raise DataError(msg)
