"""Write the synthetic step table, recording by recording, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.runs.disk import atomic_write_with
from gpucv.schema import STEP_TABLE_SCHEMA
from gpucv.traces.parquet import SCHEMA_KEY, SYNTHETIC_KEY
from gpucv.traces.synth.content import ContentDigest
from gpucv.traces.synth.plan import plan_recordings
from gpucv.traces.synth.recording import ARROW_SCHEMA, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.traces.synth.recording import RecordingPlan

__all__ = ["GENERATOR", "SynthReport", "synthesize"]

GENERATOR = "1"
"""Version of the generator: raised whenever the same seed gives other values."""


@dataclass(frozen=True, slots=True)
class SynthReport:
    """What `synthesize` wrote.

    Attributes
    ----------
    path : Path
        The parquet file.
    rows, recordings : int
        Its rows, and the recordings (experiment ids) they come from.
    steps : int
        Steps simulated; the rows are a random sample of them.
    seed, generator : int, str
        What the values depend on, and nothing else.
    bytes : int
        Size of the file.
    content_sha256 : str
        Digest of the column values (`ContentDigest`).
    """

    path: Path
    rows: int
    recordings: int
    steps: int
    seed: int
    generator: str
    bytes: int
    content_sha256: str


def synthesize(
    out: Path,
    *,
    seed: int = 42,
    rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SynthReport:
    """Write the synthetic study as one parquet step table.

    One row group for each recording, so memory does not grow with `rows`. The same
    seed and generator version give the same values anywhere.

    Parameters
    ----------
    out : Path
        File to write; its folder is created. An existing file is replaced only when
        the new one is complete.
    seed : int
        Seed of every random stream, not negative.
    rows : int, optional
        Rows in all; the published 122,752 by default (`plan_recordings`).
    progress : callable, optional
        Called with (rows written, rows in all) after each recording.

    Raises
    ------
    StudyError
        If `rows` is out of range or `seed` negative.
    EnvironmentFaultError
        If `out` cannot be written.
    """
    plans = plan_recordings(rows)
    if seed < 0:
        msg = f"seed is {seed}: seeds are whole numbers from 0"
        raise StudyError(msg)
    if out.exists() and not out.is_file():
        what = "a folder" if out.is_dir() else "not a regular file"
        msg = f"cannot write {out}: it is {what}; name a parquet file"
        raise EnvironmentFaultError(msg)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot create {out.parent}: {error.strerror or error}; choose another --out"
        raise EnvironmentFaultError(msg) from error
    digest = ContentDigest(ARROW_SCHEMA)
    atomic_write_with(out, lambda beside: _write(beside, plans, seed, digest, progress))
    return SynthReport(
        path=out,
        rows=sum(plan.rows for plan in plans),
        recordings=len(plans),
        steps=sum(plan.steps for plan in plans),
        seed=seed,
        generator=GENERATOR,
        bytes=out.stat().st_size,
        content_sha256=digest.hexdigest(),
    )


def _write(
    path: Path,
    plans: list[RecordingPlan],
    seed: int,
    digest: ContentDigest,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Simulate and append one recording after the other; leave nothing behind on a fault."""
    total = sum(plan.rows for plan in plans)
    written = 0
    try:
        with _writer(path, seed) as writer:
            for plan in plans:
                table = record(plan, seed)
                writer.write_table(table, row_group_size=table.num_rows)
                digest.update(table)
                written += table.num_rows
                if progress is not None:
                    progress(written, total)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _writer(path: Path, seed: int) -> pq.ParquetWriter:
    metadata = {
        SCHEMA_KEY: str(STEP_TABLE_SCHEMA).encode(),
        SYNTHETIC_KEY: b"true",
        b"gpucv.synthetic.seed": str(seed).encode(),
        b"gpucv.synthetic.generator": GENERATOR.encode(),
    }
    labels = [field.name for field in ARROW_SCHEMA if pa.types.is_string(field.type)]
    numbers = [field.name for field in ARROW_SCHEMA if pa.types.is_integer(field.type)]
    return pq.ParquetWriter(
        path,
        ARROW_SCHEMA.with_metadata(metadata),
        compression="zstd",
        compression_level=9,
        use_dictionary=labels,
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
    )
