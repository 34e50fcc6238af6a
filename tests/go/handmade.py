"""Artifact sets written by hand, for readers: XGBoost's own answers, and formulas of their own.

Nothing here comes from `gpucv.export`, but for its exponential: what a reader must agree with
is worked out by XGBoost and NumPy.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost

from gpucv.export.exact import exact_exp

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INPUTS = [
    "batch.prefill_tokens",
    "batch.decode_tokens",
    "batch.scheduled_tokens",
    "batch.num_prefill_reqs",
    "batch.num_decode_reqs",
    "kv.tokens_sum",
    "kv.tokens_max",
    "kv.tokens_mean",
]
CONSTS = [0.0, 1.0, 0.37, 1e300, "nan"]
# Registers: 0-7 the inputs, 8-12 the constants, from 13 on one per operation.
OPS: list[list[Any]] = [
    ["isnan", 0],
    ["where", 13, 8, 0],  # 14: prefill tokens, 0 where not known
    ["max", 2, 9],
    ["div", 1, 15],  # 16: share of decode tokens, NaN where one is not known
    ["gt", 14, 8],
    ["gt", 1, 8],
    ["and", 17, 18],  # 19: both kinds in one batch
    ["mul", 14, 10],
    ["add", 20, 7],
    ["sub", 21, 5],  # 22
    ["min", 6, 5],
    ["neg", 23],
    ["abs", 24],
    ["floor", 20],
    ["ceil", 20],
    ["sign", 22],
    ["mul", 14, 11],
    ["mul", 29, 29],  # 30: beyond float64 for any prefill
    ["f32", 22],
    ["add", 14, 9],  # 32: the reference
]
FEATURES = {  # name: register, undefined
    "prefill": (14, 0.0),
    "decode_share": (16, None),
    "mixed": (19, 0.0),
    "blend": (22, None),
    "least": (25, 0.0),
    "parts": (26, 0.0),
    "ceiling": (27, 0.0),
    "direction": (28, None),
    "beyond": (30, 7.0),
    "context": (5, None),
    "rounded": (31, None),
}


def features_of(inputs: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the features of rows of inputs, shape (n, 11): the program in NumPy's words."""
    prefill_in, decode, scheduled, _, _, kv_sum, kv_max, kv_mean = inputs.T
    with np.errstate(all="ignore"):
        prefill = np.where(np.isnan(prefill_in), 0.0, prefill_in)
        scaled = prefill * 0.37
        blend = scaled + kv_mean - kv_sum
        columns = [
            prefill,
            decode / np.maximum(scheduled, 1.0),
            ((prefill > 0) & (decode > 0)).astype(np.float64),
            blend,
            np.abs(-np.minimum(kv_max, kv_sum)),
            np.floor(scaled),
            np.ceil(scaled),
            np.sign(blend),
            (prefill * 1e300) ** 2,
            kv_sum,
            blend.astype(np.float32),
        ]
        X = np.column_stack(columns).astype(np.float32)
    for at, (_, undefined) in enumerate(FEATURES.values()):
        X[~np.isfinite(X[:, at]), at] = np.nan if undefined is None else undefined
    return X


def steps(n: int, seed: int) -> NDArray[np.float64]:
    """Return inputs of n steps, shape (n, 8); one in ten of each is not known."""
    rng = np.random.default_rng(seed)
    decode = rng.integers(0, 129, n).astype(np.float64)
    prefill = rng.integers(0, 3, n) * rng.integers(0, 2049, n).astype(np.float64)
    context = rng.integers(0, 400_000, n).astype(np.float64)
    mean = context / np.maximum(decode, 1)
    rows = np.column_stack(
        [prefill, decode, prefill + decode, np.sign(prefill), decode, context, context // 7, mean]
    )
    rows[rng.random(rows.shape) < 0.1] = np.nan
    edges = np.array([[v] * 8 for v in (0.0, -0.0, np.nan, np.inf, -np.inf, 1e308, 5e-324, 0.5)])
    return np.vstack([edges, rows])[:n]


@dataclass(frozen=True)
class Made:
    """One model of a set, and what XGBoost says of it."""

    booster: xgboost.Booster
    manifest: dict[str, Any]

    def margins(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return XGBoost's float32 margins, infinite features allowed."""
        found = self.booster.inplace_predict(X, predict_type="margin", missing=np.nan)
        return np.asarray(found, dtype=np.float32)

    def values(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return times in us before rounding, by the manifest's own words."""
        value = self.margins(features_of(inputs)).astype(np.float64)
        if self.manifest["transform"] != "raw":
            value = exact_exp(value)
        if self.manifest["reference"] is not None:
            prefill = np.where(np.isnan(inputs[:, 0]), 0.0, inputs[:, 0])
            with np.errstate(all="ignore"):
                value = value * (prefill + 1.0)
        with np.errstate(all="ignore"):
            value = value * self.manifest["smearing"]
        floor = self.manifest["floor_us"]
        return value if floor is None else np.maximum(value, floor)


def whole(values: NDArray[np.float64]) -> list[int]:
    """Return whole us, 0 where the value is NaN."""
    known = np.where(np.isnan(values), 0.0, values)
    clamped = np.clip(np.rint(known), 1.0, 2.0**63 - 1024)
    return [0 if np.isnan(v) else int(c) for v, c in zip(values, clamped, strict=True)]


def train(params: dict[str, Any], rounds: int, transform: str, seed: int = 0) -> xgboost.Booster:
    """Return a booster over made-up steps."""
    inputs = steps(4000, seed)
    X = features_of(inputs)
    rng = np.random.default_rng(seed)
    y = 3000 + 2 * X[:, 0] + 40 * np.nan_to_num(X[:, 1]) + np.nan_to_num(X[:, 9]) / 50
    y = np.clip(y, 1, 1e6) * rng.lognormal(0, 0.1, len(y))
    label = y if transform == "raw" else np.log(y / 1000)
    matrix = xgboost.QuantileDMatrix(X, label)
    return xgboost.train({"nthread": 2, "seed": seed, **params}, matrix, rounds)


def json_of(booster: xgboost.Booster) -> dict[str, Any]:
    """Return a booster as XGBoost saves it."""
    model: dict[str, Any] = json.loads(booster.save_raw("json"))
    return model


def artifact(booster: xgboost.Booster, name: str, **fields: Any) -> Made:
    """Return the manifest's entry of a booster; `fields` replace what it says by default."""
    learner = json_of(booster)["learner"]
    base = np.float32(learner["learner_model_param"]["base_score"].strip("[]"))
    features = [
        {
            "name": feature,
            "unit": "",
            "available": "sim-available",
            "version": "00000000",
            "register": register,
            "undefined": undefined,
            "missing": undefined is None,
            "range": [0.0, 2000.0],
            "monotone": 0,
        }
        for feature, (register, undefined) in FEATURES.items()
    ]
    entry = {
        "id": f"{name}/h100/tp1",
        "aliases": [name],
        "model": name,
        "gpu": "h100",
        "tp": 1,
        "engine_version": "",
        "target": "step.cycle_us",
        "unit": "us",
        "predictor": "xgboost",
        "params": {},
        "rows": 4000,
        "trees": len(learner["gradient_booster"]["model"]["trees"]),
        "depth": 6,
        "program": {"consts": CONSTS, "ops": OPS},
        "features": features,
        "transform": "log",
        "reference": None,
        "floor_us": None,
        "smearing": 1.0,
        "base_score": float(base),
        "blackbox": {"beta_us": [3000.0, 2.0, 40.0], "mape": 12.3},
        "held_out": [
            {"scheme": "temporal", "holdout": "tail", "n": 9, "mape": 3.1, "mspe": 0.1, "wape": 2.9}
        ],
    }
    return Made(booster, entry | fields)


def write_set(folder: Path, made: list[Made], golden_rows: int = 300) -> None:
    """Write an artifact set."""
    for part in ("models", "golden"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    entries = []
    for number, each in enumerate(made, start=1):
        files = {}
        for form in ("json", "ubj"):
            path = f"models/{number:04}.{form}"
            files[form] = _write(folder, path, bytes(each.booster.save_raw(form)))
        golden = json.dumps(_golden(each, golden_rows)).encode()
        place = {"number": number, "model_files": files}
        place["golden"] = _write(folder, f"golden/{number:04}.json", golden)
        entries.append(each.manifest | place)
    manifest = {
        "schema": 1,
        "kind": "gpucv-steptime",
        "gpucv": "0",
        "created": "2026-01-01T00:00:00Z",
        "study": {"name": "made by hand", "fingerprint": ""},
        "data_fingerprint": "",
        "synthetic": True,
        "inputs": INPUTS,
        "artifacts": entries,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _golden(made: Made, rows: int) -> dict[str, Any]:
    inputs = steps(rows, seed=9)
    X, values = features_of(inputs), made.values(inputs)
    return {
        "inputs": {name: _plain(inputs[:, at]) for at, name in enumerate(INPUTS)},
        "features": [_plain(column) for column in X.T],
        "margins": _plain(made.margins(X)),
        "values": _plain(values),
        "us": whole(values),
    }


def _plain(values: Any) -> list[float | str]:
    return [float(v) if np.isfinite(v) else str(float(v)) for v in values]


def _write(folder: Path, path: str, content: bytes) -> dict[str, Any]:
    (folder / path).write_bytes(content)
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_testdata(folder: Path) -> None:
    """Write the set that the Go tests read, ``go/testdata/set``."""
    small = {"max_depth": 4, "eta": 0.3}
    scaled = {"transform": "utilisation", "reference": 32, "smearing": 1.01, "floor_us": 20.0}
    raw = {"transform": "raw", "aliases": ["made-raw", "made/raw"]}
    made = [
        artifact(train(small, 11, "log"), "made-log", **scaled),
        artifact(train(small, 8, "raw"), "made-raw", **raw),
    ]
    write_set(folder, made, golden_rows=120)
