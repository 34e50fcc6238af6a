"""Candidates drawn from a space: within its bounds, and the same ones everywhere."""

from __future__ import annotations

import builtins
import warnings
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.pipelines.search import search_space
from gpucv.study import ChooseSpec

if TYPE_CHECKING:
    from collections.abc import Callable

SPACE = {
    "max_depth": (2, 9),
    "n_estimators": (10, 1000, "log"),
    "learning_rate": (0.001, 1.0, "log"),
    "subsample": (0.5, 1),
}
Drawn = list[tuple[str, dict[str, Any]]]


def drawn(
    trials: int = 30,
    seed: int = 1,
    score: Callable[[dict[str, Any]], float] = lambda params: params["learning_rate"],
    transforms: tuple[Any, ...] = ("raw",),
) -> Drawn:
    told: Drawn = []

    def tell(transform: Any, params: dict[str, Any]) -> float:
        told.append((transform, params))
        return score(params)

    search_space(ChooseSpec(space=SPACE, trials=trials), transforms, seed, tell)
    return told


def test_as_many_candidates_as_asked_for_lie_within_the_bounds() -> None:
    told = drawn(50)
    assert len(told) == 50
    for _, params in told:
        assert list(params) == list(SPACE)
        for name, (low, high, *_) in SPACE.items():
            assert low <= params[name] <= high


def test_two_whole_bounds_draw_whole_numbers_and_others_do_not() -> None:
    told = [params for _, params in drawn()]
    assert {type(params["max_depth"]) for params in told} == {int}
    assert {type(params["n_estimators"]) for params in told} == {int}
    assert {type(params["subsample"]) for params in told} == {float}
    assert any(params["subsample"] % 1 for params in told)


def test_a_logarithmic_range_draws_each_order_of_magnitude() -> None:
    # The first ten of a search are drawn blindly.
    told = [params["learning_rate"] for seed in range(20) for _, params in drawn(10, seed=seed)]
    shares = [sum(low <= rate < 10 * low for rate in told) / 200 for low in (0.001, 0.01, 0.1)]
    assert min(shares) > 0.2


def test_the_seed_decides_every_draw() -> None:
    assert drawn() == drawn()
    assert drawn(seed=2) != drawn()


def test_threads_of_one_process_draw_what_each_alone_would() -> None:
    alone = [drawn(seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        together = list(pool.map(lambda seed: drawn(seed=seed), range(4)))
    assert together == alone


def test_later_draws_heed_earlier_scores() -> None:
    def medians(sign: float) -> tuple[float, float]:
        searches = [
            [
                params["learning_rate"]
                for _, params in drawn(40, seed, lambda p: sign * p["learning_rate"])
            ]
            for seed in range(5)
        ]
        first, last = (
            [rate for rates in searches for rate in rates[part]]
            for part in (slice(10), slice(-10, None))
        )
        return median(first), median(last)

    first, last = medians(1.0)
    assert last < first / 4
    first, last = medians(-1.0)
    assert last > first * 4


def test_candidates_that_failed_neither_end_the_search_nor_lead_it() -> None:
    def score(params: dict[str, Any]) -> float:
        return float("inf") if params["max_depth"] > 3 else params["learning_rate"]

    told = [params for _, params in drawn(60, score=score)]
    assert len(told) == 60
    assert sum(params["max_depth"] <= 3 for params in told[30:]) > 15
    assert len(drawn(20, score=lambda params: float("inf"))) == 20


def test_transforms_are_part_of_the_space_where_there_are_several() -> None:
    assert {transform for transform, _ in drawn(transforms=("log",))} == {"log"}
    several = drawn(transforms=("raw", "log", "utilisation"))
    assert {transform for transform, _ in several} == {"raw", "log", "utilisation"}
    assert all(list(params) == list(SPACE) for _, params in several)


def test_nothing_is_printed_or_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(15, transforms=("raw", "log"))
    assert capfd.readouterr() == ("", "")


def test_without_optuna_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *more: Any) -> Any:
        if name.partition(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(EnvironmentFaultError, match=r"choose.space needs optuna.*pip install"):
        drawn(1)
