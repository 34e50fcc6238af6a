"""Drawing candidates from a space of parameters: Optuna's sampler, seeded; and keeping them.

The only importer of optuna.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpucv.study import ChooseSpec, TransformName

__all__ = ["SearchStorage", "search_space"]

_TRANSFORM = "(transform)"
"""What the choice of a transform is called among the parameters: none has such a name."""


def search_space(
    rule: ChooseSpec,
    transforms: Sequence[TransformName],
    seed: int,
    tell: Callable[[TransformName, dict[str, Any]], float],
) -> None:
    """Try ``rule.trials`` candidates, each drawn in the light of those before it.

    Parameters
    ----------
    rule : ChooseSpec
        With a space.
    transforms : sequence of str
        Part of the space where there is more than one.
    seed : int
        Decides every draw: equal scores give equal candidates, in any thread or process.
    tell : callable
        Fits and scores a candidate; lower is better, infinite for one that failed.

    Raises
    ------
    EnvironmentFaultError
        If Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        msg = "choose.space needs optuna, which is not installed: pip install optuna"
        raise EnvironmentFaultError(msg) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every trial

    def objective(trial: Any) -> float:
        params = {name: _drawn(trial, name, bounds) for name, bounds in rule.space.items()}
        transform: Any = transforms[0]
        if len(transforms) > 1:
            transform = trial.suggest_categorical(_TRANSFORM, list(transforms))
        return tell(transform, params)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=rule.trials)


def _drawn(trial: Any, name: str, bounds: tuple[Any, ...]) -> int | float:
    low, high, log = bounds[0], bounds[1], len(bounds) == 3
    if isinstance(low, int) and isinstance(high, int):
        return int(trial.suggest_int(name, low, high, log=log))
    return float(trial.suggest_float(name, low, high, log=log))


class SearchStorage:
    """A data base of Optuna's, to look at searches that are over: nothing is drawn from it.

    Parameters
    ----------
    url : str
        As SQLAlchemy reads it: ``sqlite:///searches.db``.

    Raises
    ------
    EnvironmentFaultError
        If it cannot be opened, or Optuna is not installed.
    """

    def __init__(self, url: str) -> None:
        self._told = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
        try:
            import optuna

            self._storage = optuna.storages.RDBStorage(url)
        except Exception as error:  # of SQLAlchemy, and of the data base's own driver
            msg = f"cannot open the storage {self._told}: {_first_line(error)}"
            raise EnvironmentFaultError(f"{msg}; use one like sqlite:///searches.db") from error

    def write(self, name: str, rule: ChooseSpec, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Write one search as a study called `name`, each candidate as a trial.

        Parameters
        ----------
        name : str
        rule : ChooseSpec
            With the space searched.
        candidates : sequence of mapping
            As a fold's record has them: ``transform``, the parameters, ``mape`` in percent,
            and the ``error`` of one that failed, in the order tried.

        Raises
        ------
        EnvironmentFaultError
            If the storage has a study of that name, or refuses.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study
        transforms = list(dict.fromkeys(each["transform"] for each in candidates))
        space = {key: _distribution(bounds) for key, bounds in rule.space.items()}
        if len(transforms) > 1:
            space[_TRANSFORM] = optuna.distributions.CategoricalDistribution(transforms)
        try:
            study = optuna.create_study(storage=self._storage, study_name=name)
            study.set_user_attr("value", "MAPE in percent on rows of the fold's training set")
            study.add_trials([_trial(each, space) for each in candidates])
        except Exception as error:  # of SQLAlchemy, and of the data base's own driver
            msg = f"cannot write {name!r} to the storage {self._told}: {_first_line(error)}"
            raise EnvironmentFaultError(msg) from error

    def close(self) -> None:
        """Let go of the data base."""
        self._storage.remove_session()
        self._storage.engine.dispose()


def _trial(candidate: Mapping[str, Any], space: Mapping[str, Any]) -> Any:
    """Return a candidate as Optuna's trial.

    The parameters as they stand, tried first, may lie outside the space: Optuna takes no such
    value for a parameter, so they are attributes of their trial.
    """
    import optuna

    values = {**candidate, _TRANSFORM: candidate["transform"]}
    inside = {
        name: values[name]
        for name, distribution in space.items()
        if values[name] is not None and _contains(distribution, values[name])
    }
    outside = {name: values[name] for name in space if name not in inside}
    failed = candidate["mape"] is None
    state = optuna.trial.TrialState
    return optuna.create_trial(
        state=state.FAIL if failed else state.COMPLETE,
        value=candidate["mape"],
        params=inside,
        distributions={name: space[name] for name in inside},
        user_attrs={**outside, **({"error": candidate["error"]} if failed else {})},
    )


def _contains(distribution: Any, value: Any) -> bool:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return value in choices
    return bool(distribution.low <= value <= distribution.high)


def _distribution(bounds: tuple[Any, ...]) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, log = bounds[0], bounds[1], len(bounds) == 3
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
