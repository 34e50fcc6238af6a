"""``gpucv export``: predictors of a run, for simulators to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions, switch
from gpucv.errors import EnvironmentFaultError, StudyError

if TYPE_CHECKING:
    from gpucv.export.manifest import ArtifactEntry, Manifest
    from gpucv.workflow.exported_rows import Subject

__all__ = ["export"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ArtifactOptions:
    """Which predictor is exported, and within which bounds."""

    per: Annotated[
        Literal["model"], Parameter(help="One per model, GPU, TP degree and engine version.")
    ] = "model"
    predictor: Annotated[
        str,
        Parameter(
            show_default=False,
            help="Export the predictor of this label, or label/transform; by default the "
            "study's first xgboost.",
        ),
    ] = ""
    drop_trace_only: Annotated[
        bool, switch("Leave out features that no simulator knows, and say what that costs.")
    ] = False
    unverified: Annotated[
        bool, switch("Export a study that was not run: the set has no held-out scores.")
    ] = False
    max_bytes: Annotated[
        int, Parameter(show_default=False, help="Prune models whose JSON is larger.")
    ] = 0
    max_us: Annotated[
        float,
        Parameter(show_default=False, help="Prune models that would take longer in Go, us."),
    ] = 0.0


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class BlisOptions:
    """What coefficients for BLIS need besides steps."""

    vllm_version: Annotated[
        str,
        Parameter(show_default=False, help="blis: version or image of vLLM, where not recorded."),
    ] = ""
    requests: Annotated[
        Path | None,
        Parameter(help="blis: table of gpucv import otel-requests, to fit alpha to."),
    ] = None


def export(
    source: Annotated[Path, Parameter(help="A finished run's folder, or a study file.")],
    *,
    out: Annotated[
        Path, Parameter(name=["--out", "-o"], help="Folder of the set; for blis, a YAML file.")
    ],
    format: Annotated[
        Literal["steptime", "blis"],
        Parameter(help="steptime: an artifact set. blis: a defaults.yaml of BLIS v0.7.10."),
    ] = "steptime",
    what: ArtifactOptions = ArtifactOptions(),
    blis: BlisOptions = BlisOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Train one predictor per configuration on all of its rows, and write what simulators read.

    A predictor that reads what no simulator knows (KV-block counters, queue depths) is
    refused, with the error it would have without.

    Examples
    --------
    gpucv export runs/cycle-time --per model --out artifacts
    gpucv export runs/cycle-time --format blis --vllm-version 0.15.1 --out b.yaml
    """
    from gpucv.cli.output import choose_progress, print_json, say, tell_notes
    from gpucv.export.reduced import Budget
    from gpucv.workflow.exported_rows import open_subject
    from gpucv.workflow.exporting import ExportRequest, export_set

    if what.max_bytes < 0 or not what.max_us >= 0:
        msg = "--max-bytes and --max-us: a limit is above 0"
        raise StudyError(msg)
    coefficients = format == "blis"
    _must_belong(format, ArtifactOptions() != what, BlisOptions() != blis)
    if coefficients and out.exists():
        # Perhaps BLIS's own, with coefficients of a hundred models.
        msg = f"{out} exists; choose another --out, and merge its list 'models' by hand"
        raise EnvironmentFaultError(msg)
    subject = open_subject(source, unverified=what.unverified or coefficients)
    tell_notes(subject.rows.notes, quiet=output.quiet)
    if coefficients:
        return _export_blis(subject, out, blis, json=output.json)
    request = ExportRequest(
        predictor=what.predictor,
        drop_trace_only=what.drop_trace_only,
        budget=Budget(what.max_bytes, what.max_us),
    )
    manifest = export_set(
        subject,
        out,
        request,
        lambda line: say(line, quiet=output.quiet),
        choose_progress(quiet=output.quiet),
    )
    if output.json:
        print_json({"out": str(out), "artifacts": [_summary(e) for e in manifest.artifacts]})
    else:
        _tell(manifest, out)
    return 0


def _must_belong(format: str, for_artifacts: bool, for_blis: bool) -> None:
    """Refuse options that the format has no use for.

    Raises
    ------
    StudyError
    """
    if format == "steptime" and for_blis:
        msg = "--vllm-version and --requests are for coefficients; add --format blis"
        raise StudyError(msg)
    if format == "blis" and for_artifacts:
        msg = (
            "--predictor, --drop-trace-only, --unverified, --max-bytes and --max-us are for "
            "predictors; coefficients for BLIS are fitted to the rows alone: leave them out"
        )
        raise StudyError(msg)


def _summary(entry: ArtifactEntry) -> dict[str, object]:
    """Return what ``--json`` prints of an artifact."""
    told: dict[str, object] = entry.model_dump(mode="json", by_alias=True)
    for key in ("program", "features", "params"):
        del told[key]
    return told | {"features": [feature.name for feature in entry.features]}


def _tell(manifest: Manifest, out: Path) -> None:
    """Print one line per artifact: its trees, its size, and what it scored where."""
    from gpucv.cli.visible import visible

    for entry in manifest.artifacts:
        scores = ", ".join(
            f"{each.scheme} {each.holdout} {each.mape:.1f} %"
            for each in entry.held_out
            if each.mape is not None
        )
        size = f"{entry.model_files.json_.bytes:,} bytes"
        line = f"{entry.id}: {entry.trees} trees, {size}; held-out MAPE: {scores or 'not known'}"
        print(visible(line))
    print(visible(str(out)))


def _export_blis(subject: Subject, out: Path, options: BlisOptions, *, json: bool) -> int:
    """Write a defaults.yaml, and print its entries."""
    import pandas as pd

    from gpucv.cli.output import print_json
    from gpucv.cli.visible import visible, visible_lines
    from gpucv.export.blis import blis_entry, write_blis
    from gpucv.traces import read_steps

    requests: pd.DataFrame | None = None
    catalog = subject.loaded.catalog
    if options.requests is not None:
        requests = read_steps(
            (str(options.requests),), base=Path.cwd(), catalog=catalog, required=()
        ).frame
    entries = [
        blis_entry(each, subject.frame, subject.study, catalog, options.vllm_version, requests)
        for each in subject.configurations
    ]
    snippet = write_blis(out, entries, catalog)
    if json:
        found = [{**entry.item(), "held_out_mape": entry.mape} for entry in entries]
        print_json({"out": str(out), "models": found})
    else:
        print(visible_lines(snippet), end="")
        print(visible(str(out)))
    return 0
