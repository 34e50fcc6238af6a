"""Vidur's regressor of one operator: a searched forest, or polynomial, over the tokens.

Source: microsoft/vidur, ``vidur/execution_time_predictor/`` (``sklearn_``, ``random_forrest_``
and ``linear_regression_execution_time_predictor.py``) and the grids of ``vidur/config/config.py``.
It keeps one for each operator of each model, GPU and tensor-parallel degree, so a study says
``per = ["model", "gpu", "tp", "op"]``. What it is fitted with is the best of a grid by
cross-validation in 10 parts, 2 where there are fewer than 10 rows, as they lie in the profile:
from the most tokens to the fewest, so a part is a range of tokens. Its forests have no seed;
here they have the fold's. Rows are fitted in the order of tokens, not of the table, so that the
same rows give the same forest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from gpucv.errors import DataError, nearest
from gpucv.predictors.base import FitContext, Params
from gpucv.predictors.complete import complete

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["GRIDS", "VIDUR_INPUTS", "VidurParams", "VidurPredictor", "vidur_mape"]

VIDUR_INPUTS = ("num_tokens",)

Form = Literal["forest", "polynomial"]
Setting = int | bool

GRIDS: dict[Form, dict[str, list[Setting]]] = {
    "forest": {
        "n_estimators": [250, 500, 750],
        "max_depth": [8, 16, 32],
        "min_samples_split": [2, 5, 10],
    },
    "polynomial": {
        "degree": [1, 2, 3, 4, 5],
        "include_bias": [True, False],
        "interaction_only": [True, False],
        "fit_intercept": [True, False],
    },
}
"""Vidur's grids: 27 forests, 40 polynomials."""

_UNSEARCHED: dict[Form, dict[str, Setting]] = {
    "forest": {"n_estimators": 500, "max_depth": 16, "min_samples_split": 5},
    # Of one input, nothing but a line interacts.
    "polynomial": {
        "degree": 3,
        "include_bias": True,
        "interaction_only": False,
        "fit_intercept": True,
    },
}
_LEAST = {"n_estimators": 1, "max_depth": 1, "min_samples_split": 2, "degree": 1}
_PARTS, _PARTS_OF_FEW = 10, 2


class VidurParams(Params):
    """What is fitted, and how its settings are found.

    Attributes
    ----------
    form : {"forest", "polynomial"}
        A random forest, Vidur's default, or least squares on powers of the tokens.
    search : bool
        Choose among the grid by cross-validation, as Vidur does: of the whole forest grid
        270 fits and one more, which takes minutes. Else the middle of the grid is taken.
    grid : dict of str to list
        Values to try instead of Vidur's; without a search, one for each setting named.
    """

    form: Form = "forest"
    search: bool = True
    grid: dict[str, list[Setting]] = Field(default_factory=dict)

    @field_validator("grid")
    @classmethod
    def _must_be_settings_of_the_form(
        cls, grid: dict[str, list[Setting]], info: ValidationInfo
    ) -> dict[str, list[Setting]]:
        known = GRIDS[info.data.get("form", "forest")]
        for name, values in grid.items():
            if name not in known:
                msg = f"no setting {name!r}{nearest(name, known)}; it has {', '.join(known)}"
                raise ValueError(msg)
            wanted: type = type(known[name][0])
            for value in values:
                if type(value) is not wanted or (wanted is int and value < _LEAST[name]):
                    least = f" of at least {_LEAST[name]}" if wanted is int else ""
                    msg = f"{name} takes {wanted.__name__} values{least}"
                    raise ValueError(msg)
            if not values or (len(values) > 1 and not info.data.get("search", True)):
                msg = f"{name} needs one value, or several and search = true"
                raise ValueError(msg)
        return grid

    def candidates(self) -> dict[str, list[Setting]]:
        """Return the values to try of every setting: one each without a search."""
        if self.search:
            return GRIDS[self.form] | self.grid
        return {name: [value] for name, value in _UNSEARCHED[self.form].items()} | self.grid


class VidurPredictor:
    """One forest or polynomial over the number of tokens.

    A forest is flat beyond the tokens it was fitted to. Vidur reads its answers from a table
    of 1 to 4,096 tokens and has none beyond; here every row gets one.
    """

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: VidurParams, context: FitContext) -> None:
        self._params = params
        self._context = context
        self._settings: dict[str, Setting] = {}
        self._fitted: Any = None

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Fit to X, shape (n, 1), and y, in any unit.

        Raises
        ------
        DataError
            If the tokens are missing in some row, or there is but one row to search with.
        """
        tokens = complete(X, "vidur", VIDUR_INPUTS)
        order = np.lexsort((y, -tokens[:, 0]))
        estimator, prefixes = self._estimator()
        grid = {f"{prefixes[k]}{k}": values for k, values in self._params.candidates().items()}
        if self._params.search:
            estimator, best = _searched(estimator, grid, tokens[order], y[order])
        else:
            best = {name: values[0] for name, values in grid.items()}
            estimator.set_params(**best).fit(tokens[order], y[order])
        self._fitted = estimator
        self._settings = {name.rpartition("__")[2]: value for name, value in best.items()}

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one prediction per row; a polynomial's may be below 0.

        Raises
        ------
        DataError
            If the tokens are missing in some row.
        """
        if not len(X):
            return np.empty(0)
        return np.asarray(self._fitted.predict(complete(X, "vidur", VIDUR_INPUTS)), np.float64)

    def settings(self) -> dict[str, Setting]:
        """Return the settings it was fitted with: the search's, or those given."""
        return dict(self._settings)

    def importance(self) -> None:
        """Return nothing: there is one input."""

    def serialize(self) -> None:
        """Return nothing: XGBoost could not read it."""

    def _estimator(self) -> tuple[Any, dict[str, str]]:
        """Return the estimator before its settings, and what scikit-learn calls each of them."""
        if self._params.form == "forest":
            from sklearn.ensemble import RandomForestRegressor

            forest = RandomForestRegressor(
                random_state=self._context.seed, n_jobs=self._context.threads
            )
            return forest, dict.fromkeys(GRIDS["forest"], "")
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import PolynomialFeatures

        powers = dict.fromkeys(GRIDS["polynomial"], "polynomialfeatures__")
        names = powers | {"fit_intercept": "linearregression__"}
        line = LinearRegression()
        # From 1.7 on scikit-learn drops directions below 1e-6 of the largest, where it used to
        # keep all that float64 can tell. Of tokens, squares and cubes that leaves no cubic.
        if "tol" in line.get_params():
            line.set_params(tol=float(np.finfo(np.float64).eps))
        return make_pipeline(PolynomialFeatures(), line), names


def vidur_mape(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return the mean absolute error in percent, as Vidur scores it.

    A true 0 counts 0 where 0 was predicted, else 100.
    """
    zero = actual == 0
    relative = 100 * np.abs(actual - predicted) / np.where(zero, 1.0, np.abs(actual))
    return float(np.where(zero, np.where(predicted == 0, 0.0, 100.0), relative).mean())


def _searched(
    estimator: Any,
    grid: dict[str, list[Setting]],
    tokens: NDArray[np.float64],
    y: NDArray[np.float64],
) -> tuple[Any, dict[str, Setting]]:
    """Return the best of the grid, fitted to all rows, and its settings."""
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GridSearchCV

    if len(y) < _PARTS_OF_FEW:
        msg = (
            f"predictor 'vidur' cannot cross-validate {len(y)} row; give it more of them, or "
            "params.search = false"
        )
        raise DataError(msg)
    found = GridSearchCV(
        estimator,
        grid,
        scoring=make_scorer(vidur_mape, greater_is_better=False),
        cv=_PARTS if len(y) >= _PARTS else _PARTS_OF_FEW,
        error_score="raise",
    ).fit(tokens, y)
    return found.best_estimator_, dict(found.best_params_)
