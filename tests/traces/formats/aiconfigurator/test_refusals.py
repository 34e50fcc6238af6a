from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import StudyError, TraceError
from gpucv.traces import ReadOptions, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog

NAME = r"gemm_perf\.parquet"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"m": ["1", "2", "3"]}, r"column 'm' holds text such as '1', not numbers"),
        ({"m": [1.0, 2.5, 3.0]}, r"column 'm', row 2: 2\.5 is no whole number \(1 such rows\)"),
        ({"m": [1.0, np.nan, 3.0]}, r"column 'm', row 2: .* is (empty|no whole number)"),
        ({"n": [1, 0, 0]}, r"column 'n', row 2: 0 is below 1 \(2 such rows\)"),
        ({"m": [1, -4, 2]}, r"column 'm', row 2: -4 is below 0"),
        ({"k": [1, 2**60, 2]}, r"column 'k', row 2: 1152921504606846976 is beyond any count"),
        ({"latency": [1.0, 2.0, np.inf]}, r"column 'latency', row 3: inf is no finite time"),
        ({"latency": [np.nan, 2.0, 1.0]}, r"column 'latency', row 1: .* is (empty|no finite time)"),
        ({"latency": [1.0, -2.0, 1.0]}, r"column 'latency', row 2: -2\.0 is negative"),
        ({"latency": ["fast"] * 3}, r"column 'latency' holds text such as 'fast', not numbers"),
        ({"power": [1.0, -5.0, 1.0]}, r"column 'power', row 2: -5\.0 is no power"),
        ({"gemm_dtype": ["bfloat16", None, "fp8"]}, r"column 'gemm_dtype', row 2: None is empty"),
        ({"gemm_dtype": [1, 2, 3]}, r"column 'gemm_dtype' holds int64, not text"),
        ({"version": [1, 1, 1]}, r"column 'version' holds int64, not text"),
        ({"framework": ["VLLM", "VLLM", "SGLang"]},
         r"column 'framework': mixed frameworks 'SGLang', 'VLLM'; .* split it"),
        ({"device": ["NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA H200"]},
         r"column 'device': mixed devices 'NVIDIA H100 80GB HBM3', 'NVIDIA H200'"),
        ({"version": ["0.19.0", "0.24.0", "0.24.0"]},
         r"column 'version': mixed versions '0\.19\.0', '0\.24\.0'"),
        ({"version": ["0.19.0", "0.18.0", "0.19.0"]}, r"mixed versions '0\.18\.0', '0\.19\.0'"),
        ({"version": ["0.19.0", "0.19.0", "0.19.0rc5"]}, r"mixed versions '0\.19\.0', '0\.19"),
        ({"op_name": "moe"}, r"column 'op_name' holds moe; name the file after its operator"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_is_refused(
    write: Callable[..., Path], read: Any, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError, match=NAME + "(, |: )?.*" + message):
        read(write(**changed))


def test_rows_are_counted_over_row_groups(write: Callable[..., Path], read: Any) -> None:
    import pyarrow.parquet as pq

    path = write(latency=[1.0, 1.0, -1.0])
    pq.write_table(pq.read_table(path), path, row_group_size=2)
    with pytest.raises(TraceError, match=r"column 'latency', row 3: -1\.0 is negative"):
        read(path)


def test_mixed_versions_are_found_over_row_groups_without_folders(
    write: Callable[..., Path], read: Any
) -> None:
    import pyarrow.parquet as pq

    path = write(place="gemm_perf.parquet", version=["0.5.9", "0.5.9", "0.5.14"])
    pq.write_table(pq.read_table(path), path, row_group_size=1)
    with pytest.raises(TraceError, match=r"mixed versions '0\.5\.14', '0\.5\.9'"):
        read(path)


@pytest.mark.parametrize(
    ("op", "column", "renamed", "message"),
    [
        ("gemm", "latency", "latency_ms", "no column 'latency'; did you mean 'latency_ms'"),
        ("gemm", "gemm_dtype", "gemm_type", "no column 'gemm_dtype'; did you mean 'gemm_type'"),
        ("gemm", "device", "gadget", "no column 'device'"),
        ("moe", "moe_ep_size", "ep_size", "no column 'moe_ep_size'; did you mean"),
        ("moe", "distribution", "routing", "no column 'distribution'"),
        ("context_attention", "isl", "input_len", "no column 'isl'"),
        ("generation_attention", "kv_cache_dtype", "kv_type", "no column 'kv_cache_dtype'"),
    ],
)
def test_a_renamed_column_is_named(
    write: Callable[..., Path], read: Any, op: str, column: str, renamed: str, message: str
) -> None:
    import pandas as pd

    path = write(op)
    pd.read_parquet(path).rename(columns={column: renamed}).to_parquet(path)
    with pytest.raises(TraceError, match=rf"{op}_perf\.parquet: {message}"):
        read(path)


def many(factor: float, rows: int = 40) -> dict[str, Any]:
    """Large products at 70 % of H100's peak, their times multiplied by `factor`."""
    m = np.arange(1, rows + 1) * 512
    milliseconds = 2.0 * m * 4096 * 4096 / 989.5e12 * 1e3 / 0.7
    return {
        "m": m,
        "n": np.full(rows, 4096),
        "k": np.full(rows, 4096),
        "gemm_dtype": "bfloat16",
        "kernel_source": "x",
        "latency": milliseconds * factor,
    }


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1e-3, r"faster than the GPU's peak rates allow: the times look like seconds; .* is ms"),
        (1e3, r"slower than the GPU's peak rates allow: the times look like microseconds"),
    ],
)
def test_another_unit_is_refused(
    write: Callable[..., Path], read: Any, factor: float, message: str
) -> None:
    with pytest.raises(TraceError, match=rf"{NAME}, column 'latency': 3 of 4 of .*{message}"):
        read(write(**many(factor)))


def test_milliseconds_pass_whatever_single_rows_say(write: Callable[..., Path], read: Any) -> None:
    assert len(read(write(**many(1.0))).frame) == 40
    wild = many(1.0)
    wild["latency"][:8] *= 1e-4
    wild["latency"][-8:] *= 1e4
    assert len(read(write(**wild)).frame) == 40


def test_few_or_small_rows_give_no_verdict_on_the_unit(
    write: Callable[..., Path], read: Any
) -> None:
    assert len(read(write(**many(1e-3, rows=19))).frame) == 19
    small = many(1e-3)
    small.update(m=np.ones(40, dtype=int), n=np.full(40, 256), k=np.full(40, 256))
    assert len(read(write(**small)).frame) == 40


def test_an_empty_table_is_refused(write: Callable[..., Path], read: Any) -> None:
    import pandas as pd

    path = write()
    pd.read_parquet(path).head(0).to_parquet(path)
    with pytest.raises(TraceError, match=rf"{NAME} has columns and no rows"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(TraceError, match=rf"{NAME} is not a sound parquet file: .*0 bytes"):
        read(path)


def test_a_damaged_table_is_refused(write: Callable[..., Path], read: Any) -> None:
    path = write()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match=rf"{NAME} is not a sound parquet file"):
        read(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(TraceError, match=rf"{NAME} is not a sound parquet file"):
        read(path)


def test_a_flipped_bit_is_found_where_pages_have_checksums(
    write: Callable[..., Path], read: Any
) -> None:
    import pyarrow.parquet as pq

    path = write(**many(1.0))
    pq.write_table(pq.read_table(path), path, write_page_checksum=True, use_dictionary=False)
    column = pq.read_metadata(path).row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TraceError, match=rf"{NAME} is not a sound parquet file: .*CRC"):
        read(path)


def test_an_unsupported_operator_is_refused_with_those_supported(
    write: Callable[..., Path], catalog: Catalog, tmp_path: Path
) -> None:
    write(place="mla_bmm_perf.parquet", drop=("m",))
    options = ReadOptions(format="aiconfigurator")
    message = r"mla_bmm_perf\.parquet is no file of format aiconfigurator \(gemm_perf\.parquet or "
    with pytest.raises(StudyError, match=message):
        read_steps(
            ["mla_bmm_perf.parquet"],
            base=tmp_path,
            catalog=catalog,
            required=[],
            options=options,
        )


def test_a_file_of_two_operators_is_of_no_family(write: Callable[..., Path], read: Any) -> None:
    ops = ["context_attention", "generation_attention"]
    shape = ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "step")
    sizes = {name: [1, 1] for name in shape}
    path = write(
        "context_attention", place="mine.parquet", op_name=ops, latency=[1.0, 1.0], **sizes
    )
    with pytest.raises(TraceError, match=r"mine\.parquet holds several operators \(context_att"):
        read(path)


def test_a_table_larger_than_memory_is_refused_before_it_is_unpacked(
    write: Callable[..., Path], read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Constant columns take some bytes in the file, whatever their length.
    path = write()
    many = pd.concat([pd.read_parquet(path).head(1)] * 100_000, ignore_index=True)
    many.to_parquet(path, index=False)
    assert path.stat().st_size < len(many)
    monkeypatch.setattr("gpucv.traces.memory.available_bytes", lambda: 10_000_000)
    read_rows: list[int] = []
    monkeypatch.setattr(
        "pyarrow.parquet.ParquetFile.read_row_group", lambda *_, **__: read_rows.append(1)
    )
    with pytest.raises(TraceError, match=rf"^{NAME}: needs .* in memory"):
        read(path)
    assert read_rows == []
