"""Small tables in the layout of the published ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gpucv.traces.formats import FORMATS, Reading
from gpucv.traces.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces.provenance import Note, SourceFile

RECORDED = {"framework": "VLLM", "version": "0.19.0", "device": "NVIDIA H100 80GB HBM3"}

GEMM = {
    **RECORDED,
    "op_name": "gemm",
    "kernel_source": ["vllm_default", "deepgemm", "vllm_default"],
    "gemm_dtype": ["bfloat16", "fp8_block", "bfloat16"],
    "m": [1, 64, 4096],
    "n": [4096, 7168, 8192],
    "k": [4096, 2048, 8192],
    "latency": [0.0125, 0.0093, 0.8431],
}
ATTENTION = {
    **RECORDED,
    "op_name": "context_attention",
    "kernel_source": "vllm_flash_attn",
    "batch_size": [2],
    "isl": [3],
    "num_heads": [8],
    "num_key_value_heads": [2],
    "head_dim": [64],
    "attn_dtype": "bfloat16",
    "kv_cache_dtype": "bfloat16",
    "step": [0],
    "latency": [0.0125],
}
MOE = {
    **RECORDED,
    "op_name": "moe",
    "kernel_source": "vllm_fused_moe",
    "moe_dtype": "bfloat16",
    "num_tokens": [4],
    "hidden_size": [4096],
    "inter_size": [14336],
    "topk": [2],
    "num_experts": [8],
    "moe_tp_size": [1],
    "moe_ep_size": [1],
    "distribution": "power_law_1.2",
    "latency": [0.25],
}
TABLES = {
    "gemm": GEMM,
    "context_attention": ATTENTION,
    "generation_attention": {**ATTENTION, "op_name": "generation_attention"},
    "moe": MOE,
}
PLACE = "h100_sxm/gemm/vllm/0.19.0/gemm_perf.parquet"


@dataclass
class Read:
    """What one file gave."""

    frame: pd.DataFrame
    file: SourceFile
    notes: tuple[Note, ...]
    codes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = [note.code for note in self.notes]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write one table of an operator at a place below `tmp_path`, some columns changed."""

    def write(
        op: str = "gemm", place: str = "", drop: tuple[str, ...] = (), **changed: Any
    ) -> Path:
        path = tmp_path / (place or PLACE.replace("gemm_perf", f"{op}_perf"))
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame({**TABLES[op], **changed}).drop(columns=[*drop])
        frame.to_parquet(path, index=False)
        return path

    return write


@pytest.fixture
def read(catalog: Catalog) -> Callable[..., Read]:
    """Read one table as the format does, its name being its path."""

    def read(path: Path, name: str = "") -> Read:
        source = Source(path, name or path.name, "aiconfigurator")
        opened = FORMATS["aiconfigurator"].open(source, Reading(catalog))
        frames = [table.to_pandas() for table in opened.batches()]
        frame = pd.concat(frames, ignore_index=True)
        return Read(frame, opened.source_file(), opened.notes())

    return read
