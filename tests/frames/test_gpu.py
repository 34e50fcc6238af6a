from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpucv.errors import DataError
from gpucv.frames import PandasColumns, bit_sums, like, namespace_of, take, to_host
from gpucv.frames import gpu as module

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

FRAME = pd.DataFrame(
    {
        "whole": np.array([3, 1, 2, 2**40], dtype=np.int64),
        "byte": np.array([1, 0, 1, 0], dtype=np.uint8),
        "flag": [True, False, True, True],
        "half": np.array([1.5, np.nan, 2.0, -0.5], dtype=np.float16),
        "gaps": [1.5, np.nan, -0.0, np.inf],
        "nullable": pd.array([1, None, 3, 4], dtype="Int64"),
        "objects": pd.Series([1, None, 3, 4], dtype=object),
        "text": pd.Series(["b", "a", "b", "c"], dtype=object),
        "category": pd.Series(["b", "a", "b", "c"], dtype="category"),
        "holes": pd.Series(["x", None, "x", "7"], dtype=object),
    }
)


def bits(found: Any) -> bytes:
    return to_host(found).tobytes()


@pytest.fixture
def both(gpu_doubles: SimpleNamespace) -> tuple[PandasColumns, PandasColumns]:
    del gpu_doubles
    return PandasColumns(FRAME), module.CudfColumns(FRAME)


@pytest.mark.parametrize(
    "name", ["whole", "byte", "flag", "half", "gaps", "nullable", "objects", "no such"]
)
def test_numbers_are_those_of_pandas_to_the_bit(
    both: tuple[PandasColumns, PandasColumns], name: str
) -> None:
    here, there = (columns.numbers(name, 7.5) for columns in both)
    assert type(there).__module__ == "cupy"
    assert there.dtype == np.float64
    assert bits(here) == bits(there)


@pytest.mark.parametrize("name", ["text", "category"])
def test_labels_look_ups_and_codes_are_those_of_pandas(
    both: tuple[PandasColumns, PandasColumns], name: str
) -> None:
    here, there = both
    assert here.labels(name) == there.labels(name) == ["a", "b", "c"]
    values = {"a": 0.1, "b": 2.5, "c": float("nan")}
    assert bits(here.lookup(name, values)) == bits(there.lookup(name, values))
    assert bits(here.label_codes(name)) == bits(there.label_codes(name))


def test_an_empty_cell_has_code_0_and_reads_as_missing(
    both: tuple[PandasColumns, PandasColumns],
) -> None:
    here, there = both
    assert bits(here.label_codes("holes")) == bits(there.label_codes("holes"))
    assert bits(here.label_codes("no such")) == bits(there.label_codes("no such"))

    def length(text: str) -> float:
        return float(len(text))

    np.testing.assert_array_equal(to_host(there.reading("holes", length)), [1, np.nan, 1, 1])
    assert bits(here.reading("holes", length)) == bits(there.reading("holes", length))


def test_text_is_no_number_there_either(both: tuple[PandasColumns, PandasColumns]) -> None:
    with pytest.raises(DataError, match="column 'text' holds"):
        both[1].numbers("text", 0.0)


def test_a_column_moves_once_per_block_and_only_if_asked_for(gpu_doubles: SimpleNamespace) -> None:
    columns = module.CudfColumns(FRAME)
    for _ in range(3):
        columns.numbers("gaps", 0.0)
    assert [each.way for each in gpu_doubles.crossings] == ["up"]
    places = [(place, len(block)) for place, block in columns.blocks(3)]
    assert places == [(slice(0, 3), 3), (slice(3, 4), 1)]
    assert all(isinstance(block, module.CudfColumns) for _, block in columns.blocks(3))


@pytest.mark.parametrize("group", [1, 3, 1000])
def test_a_matrix_is_read_row_group_by_row_group_into_rows(
    gpu_doubles: SimpleNamespace, tmp_path: Path, group: int
) -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(7, 3)).astype(np.float32)
    X[2, 1] = np.nan
    names = ["x0", "x1", "x2"]
    schema = pa.schema([pa.field(name, pa.float32(), nullable=False) for name in names])
    arrow = pa.table([pa.array(X[:, at]) for at in range(3)], schema=schema)
    pq.write_table(arrow, tmp_path / "x.parquet", row_group_size=group)
    found = module.read_matrix(tmp_path / "x.parquet", ["x2", "x0"])
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found.bare, X[:, [2, 0]])
    rows_at_once = {each.shape for each in gpu_doubles.crossings}
    assert rows_at_once <= {(min(group, 7),), (7 % group,)}


def test_the_sums_of_bits_are_the_same_on_either_device_and_tell_one_bit(
    gpu_doubles: SimpleNamespace,
) -> None:
    X = np.random.default_rng(1).normal(size=(1000, 2)).astype(np.float32)
    X[5] = np.nan
    assert bit_sums(X) == bit_sums(gpu_doubles.cupy.asarray(X))
    before = bit_sums(X)
    X.view(np.uint32)[17, 1] ^= 1
    changed = bit_sums(gpu_doubles.cupy.asarray(X))
    assert [one == other for one, other in zip(before, changed, strict=True)] == [True, False]


def test_arrays_cross_only_where_they_must(gpu_doubles: SimpleNamespace) -> None:
    here = np.arange(4.0)
    there = gpu_doubles.cupy.asarray(here)
    assert namespace_of(here) is np
    assert namespace_of(there) is gpu_doubles.cupy
    assert to_host(here) is here
    assert like(here, here) is here
    assert like(there, there) is there
    before = len(gpu_doubles.crossings)
    np.testing.assert_array_equal(take(here, np.array([2, 0])), [2.0, 0.0])
    assert len(gpu_doubles.crossings) == before
    np.testing.assert_array_equal(take(there, np.array([2, 0])).bare, [2.0, 0.0])
    assert [each.way for each in gpu_doubles.crossings[before:]] == ["up"]


@pytest.mark.parametrize(
    ("missing", "found"), [((), "cudf"), (("cudf",), "cupy"), (("cupy",), ""), (("gpu",), "")]
)
def test_what_can_hold_arrays_on_a_gpu_is_found_out(
    gpu_doubles: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    missing: tuple[str, ...],
    found: str,
) -> None:
    for name in missing:
        if name == "gpu":
            monkeypatch.setattr(gpu_doubles.cupy.cuda.runtime, "getDeviceCount", _no_driver)
        else:
            monkeypatch.setitem(sys.modules, name, None)
    assert module.available() == found


@pytest.mark.parametrize("chosen", [False, True])
def test_cudf_and_cupy_draw_on_a_pool_that_gives_memory_back_unless_one_was_chosen(
    gpu_doubles: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    del gpu_doubles

    class Plain: ...

    class Pool(Plain):
        def __init__(self, initial_pool_size: Any = None, release_threshold: Any = None) -> None:
            self.sizes = initial_pool_size, release_threshold

    mr = ModuleType("rmm.mr")
    now: list[Any] = [Pool() if chosen else Plain()]
    mr.CudaMemoryResource, mr.CudaAsyncMemoryResource = Plain, Pool  # type: ignore[attr-defined]
    mr.get_current_device_resource = lambda: now[-1]  # type: ignore[attr-defined]
    mr.set_current_device_resource = now.append  # type: ignore[attr-defined]
    rmm = ModuleType("rmm")
    rmm.mr = mr  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rmm", rmm)
    assert [module.available() for _ in range(2)] == ["cudf"] * 2
    assert [each.sizes for each in now[1:]] == ([] if chosen else [(None, 256 * 2**20)])


def test_memory_is_given_back_to_other_processes_before_they_look_for_it(
    gpu_doubles: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RMM's pool gives back when the device is synchronised, and not before."""
    done: list[str] = []
    runtime, pool = gpu_doubles.cupy.cuda.runtime, gpu_doubles.cupy.get_default_memory_pool()
    monkeypatch.setattr(runtime, "deviceSynchronize", lambda: done.append("synchronised"))
    monkeypatch.setattr(pool, "free_all_blocks", lambda: done.append("freed"))
    module.give_back()
    assert done == ["freed", "synchronised"]


def _no_driver() -> int:
    raise RuntimeError("cudaErrorInsufficientDriver")
