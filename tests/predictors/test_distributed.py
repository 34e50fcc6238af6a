"""One booster trained by several processes: here threads, to which groups belong as well."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from xgboost.core import XGBoostError

from gpucv.errors import EnvironmentFaultError
from gpucv.predictors import FitContext, distributed, make_predictor
from gpucv.predictors.distributed import WHOLE, Share, close_tracker, open_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from gpucv.predictors import Predictor

HOST = "127.0.0.1"
ROWS = 4_000


class Blocks:
    """Rows in blocks of 700."""

    def __init__(self, X: NDArray[np.float32]) -> None:
        self.shape = (len(X), X.shape[1])
        self._X = X

    def __len__(self) -> int:
        return len(self._X)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for start in range(0, len(self), 700):
            place = slice(start, min(start + 700, len(self)))
            yield place, self._X[place]


@pytest.fixture(autouse=True)
def _stdout_stays_where_it_was() -> Iterator[None]:
    """Joining holds standard output for a moment; threads, unlike processes, share one."""
    was = sys.stdout
    yield
    sys.stdout = was


def in_parts(parts: int, work: Callable[[Share], Any]) -> list[Any]:
    """Return what `work` returned or raised in each part."""
    port = open_tracker(parts, HOST)

    def part(at: int) -> Any:
        try:
            return work(Share(at, parts, HOST, port))
        except Exception as error:
            return error

    try:
        with ThreadPoolExecutor(parts) as threads:
            return list(threads.map(part, range(parts)))
    finally:
        close_tracker(port)


@pytest.fixture
def rows() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    draw = np.random.default_rng(5)
    X = draw.lognormal(size=(ROWS, 4)).astype(np.float32)
    X[::7, 2] = np.nan
    y = 10 * X[:, 0] + np.sin(X[:, 1]) + draw.normal(0, 0.1, ROWS)
    return X, y.astype(np.float64)


def fit(
    X: NDArray[np.float32],
    y: NDArray[np.float64],
    share: Share = WHOLE,
    valid: int = 0,
    name: str = "xgboost",
) -> Predictor:
    """Fit this part of the rows, the last `valid` of which are watched."""
    # Parts that draw rows draw other rows than the whole.
    params: dict[str, Any] = {"n_estimators": 40, "max_depth": 4, "subsample": 1.0}
    context = FitContext(3, 1, "cpu", 3 if valid else 0, (), "distributed")
    predictor = make_predictor(name, params, context)
    learnt = share.of(np.arange(len(X) - valid))
    watched = share.of(np.arange(len(X) - valid, len(X)))
    with share.joined():
        pair = (Blocks(X[watched]), y[watched]) if valid else None
        predictor.fit(Blocks(X[learnt]), y[learnt], pair)
    return predictor


def rmse(predictor: Predictor, X: NDArray[np.float32], y: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((predictor.predict(X) - y) ** 2)))


@pytest.mark.parametrize("n", [0, 1, 3, 10, 1_000_001])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_are_stretches_that_together_are_all_rows(n: int, parts: int) -> None:
    rows = np.arange(n)
    pieces = [Share(part, parts).of(rows) for part in range(parts)]
    assert np.array_equal(np.concatenate(pieces), rows)
    sizes = [len(piece) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert sizes[0] == max(sizes)


def test_one_part_is_plain_training_to_the_bit(rows: tuple[Any, Any]) -> None:
    X, y = rows
    context = FitContext(seed=3, threads=1, device="cpu")
    params = {"n_estimators": 40, "max_depth": 4, "subsample": 1.0}
    plain = make_predictor("xgboost", params, context)
    plain.fit(X, y, None)
    assert fit(X, y).serialize() == plain.serialize()


@pytest.mark.parametrize("name", ["xgboost", "random-forest"])
def test_parts_end_with_one_booster_that_has_learnt_from_all_of_them(
    rows: tuple[Any, Any], name: str
) -> None:
    X, y = rows
    order = np.argsort(y)  # so that each part alone knows half of the answers
    X, y = X[order], y[order]
    first, second = in_parts(2, lambda share: fit(X, y, share, name=name))
    assert first.serialize() == second.serialize()
    plain, half = fit(X, y, name=name), fit(X[: ROWS // 2], y[: ROWS // 2], name=name)
    assert rmse(first, X, y) == pytest.approx(rmse(plain, X, y), rel=0.01)
    assert rmse(half, X, y) > 2 * rmse(first, X, y)


def test_the_same_parts_give_the_same_bits_every_time(rows: tuple[Any, Any]) -> None:
    X, y = rows
    models = {
        part.serialize() for _ in range(3) for part in in_parts(2, lambda share: fit(X, y, share))
    }
    assert len(models) == 1


def test_all_parts_stop_early_at_the_round_their_validation_rows_choose_together(
    rows: tuple[Any, Any],
) -> None:
    X, y = rows[0], np.random.default_rng(1).normal(size=ROWS)  # nothing to learn
    together = in_parts(2, lambda share: fit(X, y, share, valid=1_000))
    assert {part.best_iteration for part in together} == {together[0].best_iteration}
    assert (together[0].best_iteration or 0) < 39


def test_more_parts_than_rows_leave_some_without_any(rows: tuple[Any, Any]) -> None:
    X, y = rows
    together = in_parts(3, lambda share: fit(X[:1_000], y[:1_000], share, valid=1))
    assert len({part.serialize() for part in together}) == 1
    alone = in_parts(3, lambda share: fit(X[:2], y[:2], share))
    assert all(np.isfinite(part.predict(X[:2])).all() for part in alone)


def test_where_one_part_fails_the_others_fail_at_once(rows: tuple[Any, Any]) -> None:
    X, y = rows

    def work(share: Share) -> Predictor:
        if share.part == 1:
            with share.joined():
                msg = "torn"
                raise ValueError(msg)
        return fit(X, y, share)

    first, second, third = in_parts(3, work)
    assert isinstance(first, XGBoostError)
    assert isinstance(second, ValueError)
    assert isinstance(third, XGBoostError)


def test_closing_the_tracker_ends_the_wait_for_a_part_that_never_comes() -> None:
    port = open_tracker(2, HOST)

    def come() -> None:
        with Share(0, 2, HOST, port).joined():
            pass

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(come)
        time.sleep(0.3)
        assert not waiting.done()
        close_tracker(port)
        assert isinstance(waiting.exception(), XGBoostError)
    close_tracker(port)  # again, as whoever loses sight of it does


def test_a_tracker_that_cannot_listen_is_a_fault_of_the_machine() -> None:
    told = r"cannot listen on 192\.0\.2\.1 \(.*Cannot assign requested address\)"
    with pytest.raises(EnvironmentFaultError, match=told):
        open_tracker(2, "192.0.2.1")


def test_joining_writes_nothing_to_standard_output(
    rows: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(1) as threads:
        port = open_tracker(2, HOST)
        other = threads.submit(fit, *rows, Share(1, 2, HOST, port))
        fit(*rows, Share(0, 2, HOST, port))
        other.result()
        close_tracker(port)
    assert capsys.readouterr().out == ""


def test_standard_output_is_back_when_the_last_thread_has_joined(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = threading.Event(), threading.Event()

    def join(inside: threading.Event, leave: threading.Event) -> None:
        with distributed._silent:
            inside.set()
            leave.wait()
            print("rank")

    with ThreadPoolExecutor(2) as threads:
        entered, left = threading.Event(), threading.Event()
        one = threads.submit(join, first, entered)
        first.wait()
        two = threads.submit(join, second, left)
        second.wait()
        entered.set()
        one.result()
        left.set()
        two.result()
    print("result")
    assert capsys.readouterr().out == "result\n"
