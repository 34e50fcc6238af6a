from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces import format_named
from gpucv.traces.formats import Reading
from gpucv.traces.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog

TIMES = {"attn_pre_proj": 0.3, "mlp_up_proj": 0.9, "add": 0.03}


def profile(**changes: list[Any]) -> pd.DataFrame:
    """Three rows of Llama-2-7b's mlp.csv: 256, 512 and 1,024 tokens."""
    rows = []
    for tokens in (256, 512, 1024):
        times = {
            f"time_stats.{op}.{stat}": time * tokens / 512
            for op, time in TIMES.items()
            for stat in ("min", "mean", "median")
        }
        rows.append(
            {
                **times,
                "n_head": 32,
                "n_kv_head": 32,
                "n_embd": 4096,
                "n_expanded_embd": 11008,
                "vocab_size": 32768,
                "use_gated_mlp": True,
                "num_tokens": tokens,
                "num_tensor_parallel_workers": 1,
            }
        )
    return pd.DataFrame(rows).assign(**changes)


@pytest.fixture
def refused(tmp_path: Path, catalog: Catalog) -> Callable[..., None]:
    """Assert that a profile is refused with a message that matches."""

    def refused(content: pd.DataFrame | str | bytes, match: str, gpu: str = "a100") -> None:
        path = tmp_path / gpu / "meta-llama" / "Llama-2-7b-hf" / "mlp.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(TraceError, match=match) as caught:
            format_named("vidur").open(Source(path, "x/mlp.csv", "vidur"), Reading(catalog))
        assert "\n" not in str(caught.value)

    return refused


def test_a_renamed_column_is_refused_with_the_nearest_name(refused: Callable[..., None]) -> None:
    for column, near in (
        ("num_tokens", "num_token"),
        ("n_embd", "n_embed"),
        ("num_tensor_parallel_workers", "num_tensor_parallel_worker"),
        ("time_stats.mlp_up_proj.median", "time_stats.mlp_up_proj.medain"),
    ):
        renamed = profile().rename(columns={column: near})
        refused(renamed, rf"x/mlp\.csv: no column '{column}'; did you mean '{near}'\?")


def test_an_operator_without_its_median_is_refused(refused: Callable[..., None]) -> None:
    refused(profile().drop(columns="time_stats.add.median"), "no column 'time_stats.add.median'")


def test_a_file_without_any_known_operator_is_refused(refused: Callable[..., None]) -> None:
    frame = profile().rename(columns=lambda name: name.replace("time_stats", "times"))
    refused(frame, r"no operator of Vidur among its columns, such as 'time_stats\.emb\.median'")


def test_an_empty_file_and_a_header_alone_are_refused(refused: Callable[..., None]) -> None:
    refused("", r"x/mlp\.csv is empty \(0 bytes\)")
    refused(profile().head(0), r"x/mlp\.csv has a header and no rows")


@pytest.mark.parametrize(
    ("column", "values", "match"),
    [
        ("time_stats.add.median", [0.1, "fast", 0.2], "line 3: .* holds 'fast', which is no num"),
        ("time_stats.add.median", [0.1, 0.2, -0.5], "line 4: .* holds -0.5, and cannot be below 0"),
        ("time_stats.add.min", [float("inf"), 1, 1], "line 2: .*add.min' holds inf, .* not finite"),
        ("num_tokens", [256, None, 1024], r"line 3: 'num_tokens' holds no value; is the file cut"),
        ("num_tokens", [256, 51.5, 1024], "line 3: 'num_tokens' holds 51.5, which is no count"),
        ("num_tokens", [256, 0, 0], r"line 3: .* holds .*0.*, and cannot be below 1 \(and 1 lines"),
        ("use_gated_mlp", [True, True, "maybe"], "line 4: .* holds 'maybe', which is not True or"),
        ("n_embd", [4096, 4096, 8192], "line 4: 'n_embd' is 8192, and 4096 above; a profile is of"),
        ("use_gated_mlp", [True, False, True], "line 3: 'use_gated_mlp' is .*a profile is of one"),
        ("num_tensor_parallel_workers", [1, 1, 3], "n_head 32 cannot be shared by 3 GPUs"),
        ("n_head", [33, 33, 33], "n_embd 4096 is not a multiple of n_head 33"),
        ("n_kv_head", [6, 6, 6], None),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(
    column: str, values: list[Any], match: str | None, refused: Callable[..., None]
) -> None:
    if match is None:
        frame = profile(num_tensor_parallel_workers=[4, 4, 4], **{column: values})
        refused(frame, "n_kv_head 6 cannot be shared by 4 GPUs")
    else:
        refused(profile(**{column: values}), match)


def test_a_file_cut_short_is_refused(refused: Callable[..., None]) -> None:
    text = profile().to_csv(index=False)
    refused(text[: text.rindex(",1024,")], "line 4: .* no value; is the file cut short")


def test_damaged_text_is_refused(refused: Callable[..., None]) -> None:
    text = profile().to_csv(index=False)
    header, *rows = text.splitlines()
    refused("\n".join([header, rows[0], rows[1] + ",1,2"]), "in line 3, saw")
    refused("\n".join([header, *(row + ",1" for row in rows)]), "more fields than the header")
    refused(b"\xff\xfe\x00" + text.encode(), "is not UTF-8 text")
    doubled = header.replace("n_embd", "n_head")
    refused("\n".join([doubled, *rows]), "column 'n_head' stands twice")


@pytest.mark.parametrize("gpu", ["a100", "h100", "downloads"])
@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1e-3, "looks like seconds; .*: multiply by 1000"),
        (1e3, "looks like microseconds; .*: divide by 1000"),
        (1e6, "looks like nanoseconds; .*: divide by 1000000"),
    ],
)
def test_times_in_another_unit_are_refused(
    factor: float, unit: str, gpu: str, refused: Callable[..., None]
) -> None:
    frame = profile()
    times = [name for name in frame if name.startswith("time_stats.")]
    frame[times] *= factor
    refused(frame, rf"attn_pre_proj\.median: the median time is .*x (above|below).*{unit}", gpu)


def test_one_operator_in_another_unit_is_refused(refused: Callable[..., None]) -> None:
    frame = profile()
    frame["time_stats.mlp_up_proj.median"] /= 1000
    refused(frame, r"x/mlp\.csv, time_stats\.mlp_up_proj\.median: .* looks like seconds")


@pytest.mark.shared_data
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_public_profiles_in_another_unit_are_refused(
    factor: float, shared_data: Path, refused: Callable[..., None]
) -> None:
    for path in sorted((shared_data / "vidur").rglob("mlp.csv")):
        frame = pd.read_csv(path)
        frame[[name for name in frame if name.startswith("time_stats.")]] *= factor
        refused(frame, "the format's unit is ms", path.parts[-4])
