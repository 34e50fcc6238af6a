"""Targets that read measurements: every format, and plain tables on their way into a study."""

from __future__ import annotations

import gzip
import io
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from tests.fuzz.target import Target
from tests.traces.conftest import NAME, step_line, values_of
from tests.traces.formats import (
    test_blis,
    test_fpm,
    test_fpm_database,
    test_llmd,
    test_splitwise,
    test_vidur,
    test_vidur_refusals,
)
from tests.traces.formats.aiconfigurator.conftest import TABLES
from tests.traces.formats.otel.conftest import Engine, busy_requests, lines_of

from gpucv.catalog import load_catalog
from gpucv.study import study_from_dict
from gpucv.traces import Importing, format_named, import_tables
from gpucv.workflow import prepare
from gpucv.workflow.auditing import AuditRequest, audit_traces

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TRACE_TARGETS"]

CATALOG = load_catalog()
CONFIG = b"model: meta-llama/Llama-2-70b-hf\ntensor_parallelism: 4\nmax_num_batched_tokens: 64\n"
SUMMARY = b'{"failures": {"count": 1}, "successes": {"count": 9}}'


def _read(folder: Path, format: str, place: str, content: bytes) -> None:
    """Read one file of a format as `gpucv audit` and as `gpucv import` do."""
    path = folder / place
    path.write_bytes(content)
    named = str(folder / NAME if NAME in place else path)
    if format != "table":
        how = Importing(format_named(format), CATALOG)
        import_tables([named], folder / "out.parquet", base=folder, how=how)
    audit_traces(AuditRequest((named,), folder, format), CATALOG)


def _reader(
    format: str, place: str, seeds: Callable[[], tuple[bytes, ...]], beside: Any = None
) -> Callable[[Path], Target]:
    """Return what makes a target of one file of a format; `beside` are files next to it."""

    def make(folder: Path) -> Target:
        where = (folder / place).parent
        where.mkdir(parents=True, exist_ok=True)
        for name, content in (beside or {}).items():
            other = where / name
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_bytes(content)
        return Target(format, seeds(), partial(_read, folder, format, place))

    return make


def _lines(records: list[Any]) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.to_parquet(written, index=False)
    return written.getvalue()


def _recording() -> tuple[bytes, ...]:
    values = [values_of(step) for step in range(6)]
    return ("\n".join((step_line(values[:4]), step_line(values[4:]))).encode(),)


def _journeys() -> tuple[bytes, ...]:
    asked = busy_requests(3, count=6)
    engine = Engine(64, 16, 10**9, ahead=False)
    engine.run(asked)
    kept = [truth["step.id"] for truth in engine.truth][::-3]
    return ("\n".join(lines_of(engine, asked, kept)).encode(),)


def _steps() -> pd.DataFrame:
    """Four recordings of 6 steps of the embedded study."""
    study = Path(__file__).resolve().parents[2] / "data" / "study.parquet"
    whole = pd.read_parquet(study)
    kept = whole["model"].isin(["codellama-34b", "llama-2-7b"])
    kept &= whole["workload"].isin(["general", "codegen"])
    return whole[kept].groupby("experiment_id").head(6).reset_index(drop=True)


def _study_of(folder: Path) -> Target:
    """A plain table that becomes the rows, groups and features of a study."""

    def read(content: bytes) -> None:
        path = folder / ("steps.parquet" if content[:4] == b"PAR1" else "steps.csv")
        path.write_bytes(content)
        raw = {
            "data": {"steps": [str(path)], "audit": "warn", "bad_rows": "drop"},
            "predictors": [{"name": "ridge"}, {"name": "roofline"}],
            "execution": {"device": "cpu", "workers": 1},
        }
        prepare(study_from_dict(raw, base=folder))

    steps = _steps()
    return Target("rows of a study", (_csv(steps), _parquet(steps)), read)


def _fpm_records() -> tuple[bytes, ...]:
    passes = [test_fpm.one_pass(at) for at in range(4)]
    traced = _lines([test_fpm.traced(each) for each in passes])
    return (_lines(passes), traced, gzip.compress(traced, mtime=0))


def _vidur_mlp() -> tuple[bytes, ...]:
    return (
        _csv(test_vidur_refusals.profile()),
        _csv(pd.DataFrame([test_vidur.mlp_row(tokens, 2) for tokens in (1, 64, 512)])),
    )


def _vidur_attention() -> tuple[bytes, ...]:
    rows = [test_vidur.attention_row(1, 256, 512), test_vidur.attention_row(100, 0, 1000)]
    return (_csv(pd.DataFrame(rows)),)


def _blis() -> tuple[bytes, ...]:
    whole = test_blis.listed(
        test_blis.GRANITE, test_blis.LLAMA, trained_physics_coefficients=test_blis.PHYSICS
    )
    return (yaml.safe_dump(whole).encode(), json.dumps(whole).encode())


def _llmd() -> tuple[bytes, ...]:
    whole = _lines([test_llmd.sample(at) for at in range(4)])
    return (whole, gzip.compress(whole, mtime=0))


def _aiconfigurator(op: str) -> tuple[bytes, ...]:
    return (_parquet(pd.DataFrame(TABLES[op])),)


_RECORDED = {"exp-config.yaml": CONFIG, "results/summary_lifecycle_metrics.json": SUMMARY}
_LLAMA = "a100/meta-llama/Llama-2-7b-hf"
_PLACE = "h100_sxm/{0}/vllm/0.19.0/{0}_perf.parquet"

TRACE_TARGETS: dict[str, Callable[[Path], Target]] = {
    "table-csv": _reader("table", "steps.csv", lambda: (_csv(_steps()),)),
    "table-parquet": _reader("table", "steps.parquet", lambda: (_parquet(_steps()),)),
    "rows-of-a-study": _study_of,
    "otel-lifecycle": _reader(
        "otel",
        f"{NAME}/results/summary_lifecycle_metrics.json",
        lambda: (SUMMARY,),
        {"../traces.json": _recording()[0], "../exp-config.yaml": CONFIG},
    ),
    "otel": _reader("otel", f"{NAME}/traces.json", _recording, _RECORDED),
    "otel-config": _reader(
        "otel", f"{NAME}/exp-config.yaml", lambda: (CONFIG,), {"traces.json": _recording()[0]}
    ),
    "otel-batches": _reader("otel-batches", f"{NAME}/traces.json", _journeys, _RECORDED),
    "otel-requests": _reader("otel-requests", f"{NAME}/traces.json", _journeys, _RECORDED),
    "vidur-mlp": _reader("vidur", f"{_LLAMA}/mlp.csv", _vidur_mlp),
    "vidur-attention": _reader("vidur", f"{_LLAMA}/attention.csv", _vidur_attention),
    "splitwise": _reader("splitwise", "perf_model.csv", lambda: (_csv(test_splitwise.table()),)),
    **{
        f"aiconfigurator-{op}": _reader(
            "aiconfigurator", _PLACE.format(op), partial(_aiconfigurator, op)
        )
        for op in ("gemm", "context_attention", "moe")
    },
    "blis": _reader("blis", "defaults.yaml", _blis),
    "llm-d": _reader("llm-d", "samples.jsonl", _llmd),
    "fpm": _reader("fpm", "fpm.jsonl", _fpm_records),
    "fpm-database": _reader(
        "fpm", "fpm_forward_perf.parquet", lambda: (_parquet(test_fpm_database.points()),)
    ),
}
