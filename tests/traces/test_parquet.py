from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gpucv.errors import GpucvError, TraceError
from gpucv.traces import read_steps
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.parquet import read_parquet
from gpucv.traces.piece import Selection
from gpucv.traces.sources import Source

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog

EVERYTHING = Selection((), None)


def table(rows: int = 50) -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "experiment_id": [f"e{i // 10}" for i in range(rows)],
            "step.id": np.arange(rows),
            "step.duration_us": rng.integers(10, 30_000, rows),
            "kv.usage_gpu_ratio": rng.random(rows),
        }
    )


@cache
def checked_bytes() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink, write_page_checksum=True)
    return sink.getvalue()


def read(path: Path, budget: int | None = None) -> pa.Table:
    source = Source(path, path.name, "parquet")
    return read_parquet(source, EVERYTHING, MemoryBudget(budget)).table


def decoded(found: pa.Table) -> pa.Table:
    return found.cast(table().schema)


tolerant = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def test_reads_back_what_was_written_over_several_row_groups(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=20)
    assert decoded(read(tmp_path / "a.parquet")).equals(table())


@pytest.mark.fault(24)
@tolerant
@given(flip=st.integers(0, len(checked_bytes()) * 8 - 1))
@example(flip=11611)  # in the footer: turns a column of numbers into one of bytes
def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path, flip: int) -> None:
    damaged = bytearray(checked_bytes())
    damaged[flip // 8] ^= 1 << (flip % 8)
    (tmp_path / "a.parquet").write_bytes(damaged)
    try:
        found = read(tmp_path / "a.parquet")
    except TraceError:
        return
    assert decoded(found).equals(table())


@pytest.mark.fault(23)
@tolerant
@given(length=st.integers(0, len(checked_bytes()) - 1))
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.parquet").write_bytes(checked_bytes()[:length])
    with pytest.raises(TraceError, match=r"cut.parquet is not a sound parquet file"):
        read(tmp_path / "cut.parquet")


@pytest.mark.fault(23)
@tolerant
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + content + b"PAR1")
    with pytest.raises(TraceError):
        read(tmp_path / "a.parquet")


def test_a_footer_that_names_what_pyarrow_has_not_implemented_is_refused(tmp_path: Path) -> None:
    whole = checked_bytes()
    footer = int.from_bytes(whole[-8:-4], "little")

    def unknown(flip: int) -> bytes | None:
        damaged = bytearray(whole)
        damaged[flip // 8] ^= 1 << (flip % 8)
        try:
            pq.read_table(io.BytesIO(bytes(damaged)))
        except NotImplementedError:
            return bytes(damaged)
        except (OSError, ValueError):
            pass
        return None

    flips = range((len(whole) - 8 - footer) * 8, (len(whole) - 8) * 8)
    (tmp_path / "a.parquet").write_bytes(next(filter(None, map(unknown, flips))))
    with pytest.raises(TraceError, match=r"a.parquet is not a sound parquet file: .* implemented"):
        read(tmp_path / "a.parquet")


@pytest.mark.fault(24)
def test_a_renamed_column_in_the_footer_is_noticed(tmp_path: Path) -> None:
    # The second copy of the schema is encoded, so that only the first is hit.
    (tmp_path / "a.parquet").write_bytes(checked_bytes().replace(b"step.id", b"stop.id"))
    with pytest.raises(TraceError, match=r"columns differ in \['step.id', 'stop.id'\]"):
        read(tmp_path / "a.parquet")


@pytest.mark.fault(26)
def test_a_column_of_zeros_is_refused_by_its_size_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "zeros.parquet"
    pq.write_table(pa.table({"x": np.zeros(4_000_000)}), path)
    assert path.stat().st_size < 100_000
    with pytest.raises(TraceError, match=r"zeros.parquet: needs 0.03 GiB in memory"):
        read(path, budget=10_000_000)


@pytest.mark.fault(26)
def test_a_long_text_repeated_is_refused_before_it_is_written_out(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.parquet"
    codes = pa.array(np.zeros(50_000, dtype="int32"))
    pq.write_table(pa.table({"x": pa.DictionaryArray.from_arrays(codes, ["y" * 100_000])}), path)
    assert path.stat().st_size < 100_000
    assert read(path, budget=1_000_000).num_rows == 50_000
    monkeypatch.setattr("gpucv.traces.memory.available_bytes", lambda: 10_000_000)
    with pytest.raises(TraceError, match=r"'x': needs 4.66 GiB in memory"):
        read_steps(["long.parquet"], base=tmp_path, catalog=catalog, required=[])


def test_nested_and_binary_columns_are_passed_over_unless_required(
    tmp_path: Path, catalog: Catalog
) -> None:
    pq.write_table(
        pa.table({"x": [1], "list": [[1]], "blob": [b"\xff"], "s": [{"a": 1}]}),
        tmp_path / "a.parquet",
    )
    steps = read_steps(["a.parquet"], base=tmp_path, catalog=catalog, required=["x"])
    assert list(steps.frame.columns) == ["x"]
    assert "'list', 'blob', 's'" in steps.notes[0].message
    with pytest.raises(TraceError, match="no column 'list'"):
        read_steps(["a.parquet"], base=tmp_path, catalog=catalog, required=["list"])


def test_an_extension_type_is_read_as_what_it_is_stored_as(tmp_path: Path) -> None:
    kind = pa.json_() if hasattr(pa, "json_") else pa.string()
    values = pa.array(["{}"]).cast(kind)
    pq.write_table(pa.table({"x": values, "y": pd.Categorical(["a"])}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert found["x"].to_pylist() == ["{}"]
    assert found["y"].to_pylist() == ["a"]


@pytest.mark.fault(37)
def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(TraceError, match="column 'x' stands twice"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"gpucv.step_table": "2"}, "a step table of version 2, this gpucv reads up to 1"),
        ({"gpucv.step_table": "one"}, "a step table of version one"),
        ({"gpucv.notes": "{"}, "its notes cannot be read"),
        ({"gpucv.notes": "[[1, 2]]"}, "its notes cannot be read"),
    ],
)
def test_metadata_it_does_not_understand_is_refused(
    tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    pq.write_table(table().replace_schema_metadata(metadata), tmp_path / "a.parquet")
    with pytest.raises(TraceError, match=message):
        read(tmp_path / "a.parquet")


def test_a_file_that_may_not_be_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(GpucvError, match=r"cannot read a.parquet: Permission denied") as caught:
        read(tmp_path / "a.parquet")
    assert caught.value.exit_code == 4
