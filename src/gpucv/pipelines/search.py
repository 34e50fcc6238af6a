"""Drawing candidates from a space of parameters: Optuna's sampler, seeded.

The only importer of optuna.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.study import ChooseSpec, TransformName

__all__ = ["search_space"]


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
            # No parameter is called like this.
            transform = trial.suggest_categorical("(transform)", list(transforms))
        return tell(transform, params)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=rule.trials)


def _drawn(trial: Any, name: str, bounds: tuple[Any, ...]) -> int | float:
    low, high, log = bounds[0], bounds[1], len(bounds) == 3
    if isinstance(low, int) and isinstance(high, int):
        return int(trial.suggest_int(name, low, high, log=log))
    return float(trial.suggest_float(name, low, high, log=log))
