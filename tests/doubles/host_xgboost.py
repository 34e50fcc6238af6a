"""The boundary where XGBoost takes rows, as on a GPU: it trains on the CPU and says "cuda"."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from typing import Any

import numpy as np
import xgboost


class Boundary:
    """Replaces what of `xgboost` meets rows; remembers which rows it met."""

    def __init__(self, patch: Any) -> None:
        self.binned: list[tuple[int, int]] = []
        self.alive: list[bool] = []
        self._rows: list[weakref.ref[Any]] = []
        self._matrix, self._train = xgboost.QuantileDMatrix, xgboost.train
        patch.setattr(xgboost, "QuantileDMatrix", self._quantile_matrix)
        patch.setattr(xgboost, "train", self._trained)

    def _quantile_matrix(self, X: Any, **options: Any) -> Any:
        if isinstance(X, xgboost.DataIter):
            return self._matrix(_Bare(X, self.binned), **options)
        assert type(X) is sys.modules["cupy"].ndarray, f"rows came as {type(X)}"
        assert X.dtype == np.float32
        assert X.flags.c_contiguous
        assert options["label"].dtype == np.float32
        self.binned.append(X.shape)
        self._rows.append(weakref.ref(X))
        return self._matrix(X.bare, **options)

    def _trained(self, params: dict[str, Any], *rows: Any, **options: Any) -> Any:
        assert params["device"] == "cuda"
        gc.collect()
        self.alive.append(any(each() is not None for each in self._rows))
        return _Booster(self._train({**params, "device": "cpu"}, *rows, **options))


class _Bare(xgboost.DataIter):
    """An iterator over blocks on the device, as a host can read them."""

    def __init__(self, blocks: xgboost.DataIter, met: list[tuple[int, int]]) -> None:
        super().__init__()
        self._blocks, self._met = blocks, met

    def reset(self) -> None:
        self._blocks.reset()

    def next(self, input_data: Any) -> bool:
        def bare(*, data: Any, label: Any) -> None:
            assert type(data) is sys.modules["cupy"].ndarray, f"rows came as {type(data)}"
            self._met.append(data.shape)
            input_data(data=data.bare, label=label)

        return bool(self._blocks.next(bare))


class _Booster:
    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._booster, name)

    def inplace_predict(self, X: Any, **options: Any) -> Any:
        assert type(X) is sys.modules["cupy"].ndarray, "a DMatrix would be made, with a warning"
        predicted = self._booster.inplace_predict(X.bare, **options)
        return sys.modules["cupy"].ndarray(predicted)

    def save_config(self) -> str:
        config = json.loads(self._booster.save_config())
        config["learner"]["generic_param"]["device"] = "cuda:0"
        return json.dumps(config)
