from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Row = tuple[str, str, float | None]


@pytest.fixture
def fold_table() -> Callable[..., pd.DataFrame]:
    """Make a fold table from (scheme, holdout, MAPE) rows; MAPE None is a failed fold."""

    def make(*rows: Row, predictor: str = "xgboost", transform: str = "raw") -> pd.DataFrame:
        return pd.DataFrame(
            {
                "scheme": [scheme for scheme, _, _ in rows],
                "holdout": [holdout for _, holdout, _ in rows],
                "predictor": predictor,
                "transform": transform,
                "target": "step.duration_us",
                "status": ["failed" if mape is None else "ok" for _, _, mape in rows],
                "n_train": 100,
                "n_valid": 25,
                "n_test": 10,
                "valid_mape": 5.0,
                "test_mape": [float("nan") if mape is None else mape for _, _, mape in rows],
                "test_mspe": 1.0,
                "test_r": 0.5,
                "test_wape": float("nan"),
                "test_p99_ape": float("nan"),
                "best_iteration": float("nan"),
                "fit_s": 0.1,
                "predict_s": 0.1,
                "device": "cpu",
                "test_time_error": 2.0,
            }
        )

    return make
