"""``gpucv features``: the feature table of a study, to look at or to use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions, StudyFile, StudyOptions

__all__ = ["features"]


def features(
    study: StudyFile,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Parquet file to write.")],
    options: StudyOptions = StudyOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Write a study's features (float64), target and groups, one row per step.

    Examples
    --------
    gpucv features study.toml --out features.parquet
    """
    from gpucv.cli.output import print_json, say, tell_notes
    from gpucv.cli.visible import visible
    from gpucv.study import load_study
    from gpucv.workflow.feature_file import write_features

    loaded = load_study(study, options.overrides())
    written = write_features(loaded, out, options.checked_limit())
    tell_notes(written.notes, quiet=output.quiet)
    if output.json:
        print_json({"out": str(out), "rows": written.rows, "features": written.names})
    else:
        say(f"{written.rows:,} rows x {len(written.names)} features", quiet=output.quiet)
        print(visible(str(out)))
    return 0
