"""Rows binned block by block: the same trees, no whole matrix, and no page left behind."""

from __future__ import annotations

import contextlib
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.frames import gpu
from gpucv.predictors import FitContext, make_predictor
from gpucv.predictors.blocks import RowBlocks
from gpucv.predictors.paged import in_blocks, paging, streamed_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from gpucv.predictors import Predictor

ROWS = 6_000
PAGED = FitContext(seed=3, threads=2, device="cpu", training="external-memory")
GBDT = {"n_estimators": 30, "max_depth": 4}


class Blocks:
    """Rows handed over so many at a time, that knows how many blocks were alive at once."""

    def __init__(self, X: NDArray[np.float32], rows: int) -> None:
        self.shape = (len(X), X.shape[1])
        self.most_alive = 0
        self._X, self._rows = X, rows
        self._alive = 0

    def __len__(self) -> int:
        return len(self._X)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for start in range(0, len(self), self._rows):
            place = slice(start, min(start + self._rows, len(self)))
            X = self._X[place].copy()
            self._alive += 1
            weakref.finalize(X, self._gone)
            self.most_alive = max(self.most_alive, self._alive)
            yield place, X

    def _gone(self) -> None:
        self._alive -= 1


@pytest.fixture
def rows() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Skewed, repeated and missing values; a target that trees can learn in part."""
    draw = np.random.default_rng(5)
    X = draw.lognormal(size=(ROWS, 5)).astype(np.float32)
    X[:, 3] = draw.integers(0, 2_000, ROWS)
    X[::7, 2] = np.nan
    y = X[:, 0] + np.sin(X[:, 1]) + X[:, 3] / 500 + draw.normal(0, 0.1, ROWS)
    return X, y.astype(np.float64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the temporary folder of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def fitted(X: Any, y: Any, context: FitContext, name: str = "xgboost", **params: Any) -> Predictor:
    predictor = make_predictor(name, {**GBDT, **params}, context)
    predictor.fit(X, y, None)
    return predictor


def test_what_is_tested_is_a_matrix_in_blocks() -> None:
    assert isinstance(Blocks(np.zeros((2, 1), np.float32), 1), RowBlocks)


@pytest.mark.parametrize("block", [ROWS, 2_500, 97])
@pytest.mark.parametrize("name", ["xgboost", "random-forest"])
def test_on_a_cpu_paged_trees_are_those_of_a_matrix_in_memory_to_the_bit(
    rows: tuple[Any, Any], name: str, block: int
) -> None:
    X, y = rows
    plain = fitted(X, y, FitContext(seed=3, threads=2, device="cpu"), name)
    paged = fitted(Blocks(X, block), y, PAGED, name)
    assert paged.serialize() == plain.serialize()
    assert np.array_equal(paged.predict(Blocks(X, 1_001)), plain.predict(X))


def test_early_stopping_watches_paged_rows_binned_as_the_training_rows(
    rows: tuple[Any, Any],
) -> None:
    X, y = rows
    booster: dict[str, Predictor] = {}
    for name, of in {"memory": lambda part: part, "pages": lambda part: Blocks(part, 500)}.items():
        context = FitContext(
            3, 2, "cpu", 3, (), "in-memory" if name == "memory" else PAGED.training
        )
        booster[name] = make_predictor("xgboost", {"learning_rate": 0.5}, context)
        booster[name].fit(of(X[:4_000]), y[:4_000], (of(X[4_000:]), y[4_000:]))
    assert booster["pages"].serialize() == booster["memory"].serialize()
    assert booster["pages"].best_iteration == booster["memory"].best_iteration
    assert 0 < (booster["pages"].best_iteration or 0) < 299


def test_a_repeated_fit_gives_the_same_bits(rows: tuple[Any, Any]) -> None:
    X, y = rows
    models = {fitted(Blocks(X, 700), y, PAGED).serialize() for _ in range(3)}
    assert len(models) == 1


def test_never_more_than_two_blocks_are_in_memory(rows: tuple[Any, Any]) -> None:
    X, y = rows
    learnt, asked = Blocks(X, 300), Blocks(X, 300)
    predictor = fitted(learnt, y, PAGED)
    predictor.predict(asked)
    assert max(learnt.most_alive, asked.most_alive) <= 2


def test_pages_lie_in_a_temporary_folder_and_are_gone_after_training(
    rows: tuple[Any, Any], folder: Path
) -> None:
    X, y = rows
    with paging({"max_bin": 256}, PAGED) as matrix_of:
        kept = matrix_of(Blocks(X, 500), y.astype(np.float32))
        pages = list(folder.glob("gpucv-pages-*/*.page"))
        assert sum(page.stat().st_size for page in pages) > X.size  # one byte a bin, and more
    assert list(folder.iterdir()) == []
    assert not hasattr(kept, "handle")


@pytest.mark.parametrize("where", ["rows", "label"])
def test_pages_are_gone_when_training_fails(
    rows: tuple[Any, Any], folder: Path, where: str
) -> None:
    X, y = rows

    class Torn(Blocks):
        def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
            yield from list(super().blocks())[:3]
            msg = "the table is gone"
            raise OSError(msg)

    failing: tuple[Any, Any] = (
        (Torn(X, 500), y) if where == "rows" else (Blocks(X, 500), y * np.inf)
    )
    with pytest.raises((OSError, xgboost.core.XGBoostError)) as caught:
        fitted(*failing, PAGED)
    assert list(folder.iterdir()) == []
    assert ("the table is gone" in str(caught.value)) == (where == "rows")


def test_trees_that_grow_leaf_by_leaf_are_refused(rows: tuple[Any, Any], folder: Path) -> None:
    X, y = rows
    with pytest.raises(StudyError, match=r"once a leaf .*'lossguide'; use grow_policy 'depthwise'"):
        fitted(Blocks(X, 500), y, PAGED, grow_policy="lossguide")
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_a_fault_of_the_machine(
    rows: tuple[Any, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "absent"))
    with pytest.raises(EnvironmentFaultError, match=r"nowhere to put pages .* set TMPDIR"):
        fitted(Blocks(rows[0], 500), rows[1], PAGED)


@pytest.mark.parametrize("block", [ROWS, 700])
def test_streamed_rows_make_the_matrix_that_all_rows_make(
    rows: tuple[Any, Any], folder: Path, block: int
) -> None:
    X, y = rows
    label = y.astype(np.float32)
    blocks = Blocks(X, block)
    whole = xgboost.QuantileDMatrix(X, label=label, max_bin=64)
    streamed = streamed_matrix(blocks, label, 64, PAGED)
    again = streamed_matrix(blocks, label, 64, PAGED, streamed)
    for matrix in (streamed, again):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(matrix.get_quantile_cut(), whole.get_quantile_cut(), strict=True)
        )
        assert np.array_equal(matrix.get_label(), label)
    assert blocks.most_alive <= 2
    assert list(folder.iterdir()) == []


def test_predictions_come_in_the_order_of_the_rows() -> None:
    X = np.arange(10, dtype=np.float32).reshape(10, 1)
    assert np.array_equal(in_blocks(lambda block: block[:, 0] * 2, Blocks(X, 3)), X[:, 0] * 2)


class OnGpu:
    """Stands in for a block in device memory."""

    def __init__(self, host: NDArray[np.float32]) -> None:
        self.host = host


@pytest.fixture
def gpu_calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let XGBoost's two ends be recorded: what it is configured with, and what it is handed."""
    seen: dict[str, Any] = {"blocks": [], "config": []}

    class Matrix:
        def __init__(self, rows: Any, **told: Any) -> None:
            seen["on_host"], seen["prefix"] = rows.on_host, rows.cache_prefix
            seen["told"] = told
            rows.reset()
            while rows.next(lambda data, label: seen["blocks"].append((data, label))):
                pass

        def __del__(self) -> None:
            pass

    @contextlib.contextmanager
    def config_context(**config: Any) -> Iterator[None]:
        seen["config"].append(config)
        yield

    monkeypatch.setattr(xgboost, "ExtMemQuantileDMatrix", Matrix)
    monkeypatch.setattr(xgboost, "config_context", config_context)
    monkeypatch.setattr(gpu, "available", lambda: "cupy")
    monkeypatch.setattr(gpu, "to_device", OnGpu)
    return seen


@pytest.mark.parametrize(("with_rmm", "pool"), [(False, "use_cuda_async_pool"), (True, "use_rmm")])
def test_on_a_gpu_pages_stay_in_host_memory_and_blocks_come_from_the_device(
    rows: tuple[Any, Any],
    folder: Path,
    gpu_calls: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    with_rmm: bool,
    pool: str,
) -> None:
    X, y = rows
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_RMM": with_rmm})
    context = FitContext(seed=0, threads=3, device="cuda", training="external-memory")
    with paging({"max_bin": 128}, context) as matrix_of:
        matrix_of(Blocks(X, 2_500), y)
        assert list(folder.iterdir()) == []
    assert (gpu_calls["on_host"], gpu_calls["prefix"]) == (True, None)
    assert gpu_calls["told"] == {"nthread": 3, "max_bin": 128, "ref": None}
    assert gpu_calls["config"] == [{pool: True}]
    assert all(isinstance(block, OnGpu) for block, _ in gpu_calls["blocks"])
    together = np.concatenate([block.host for block, _ in gpu_calls["blocks"]])
    assert np.array_equal(together, X, equal_nan=True)
    assert np.array_equal(np.concatenate([label for _, label in gpu_calls["blocks"]]), y)


def test_an_xgboost_without_a_pool_of_its_own_is_a_fault_of_the_machine(
    gpu_calls: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xgboost, "get_config", lambda: {"use_rmm": False})
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_RMM": False})
    context = FitContext(seed=0, threads=1, device="cuda", training="external-memory")
    with (
        pytest.raises(EnvironmentFaultError, match=r"needs XGBoost 3\.2, and this is"),
        paging({"max_bin": 128}, context),
    ):
        pass
    assert gpu_calls["config"] == []


def test_a_gpu_without_cupy_is_a_fault_of_the_machine(
    rows: tuple[Any, Any], gpu_calls: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "available", lambda: "")
    context = FitContext(seed=0, threads=1, device="cuda", training="external-memory")
    matrix: Callable[..., Any]
    with (
        pytest.raises(EnvironmentFaultError, match="blocks of rows on a GPU need CuPy"),
        paging({"max_bin": 128}, context) as matrix,
    ):
        matrix(Blocks(rows[0], 500), rows[1])
    assert gpu_calls["blocks"] == []


def test_blocks_to_predict_go_to_the_gpu_and_come_back_as_predictions(
    rows: tuple[Any, Any], gpu_calls: dict[str, Any]
) -> None:
    X, _ = rows
    asked: list[Any] = []

    def predict(block: Any) -> NDArray[np.float32]:
        asked.append(block)
        return block.host[:, 0]

    assert np.array_equal(in_blocks(predict, Blocks(X, 2_500), "cuda"), X[:, 0])
    assert [type(block) for block in asked] == [OnGpu] * 3
    assert gpu_calls["blocks"] == []
