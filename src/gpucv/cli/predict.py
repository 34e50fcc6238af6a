"""``gpucv predict``: step times from an artifact set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions, switch

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.export import Artifact, Predictions

__all__ = ["predict"]


def predict(
    folder: Annotated[Path, Parameter(help="The artifact set.")],
    steps: Annotated[
        list[str],
        Parameter(negative="", help="Steps: parquet, CSV or recordings."),
    ],
    *,
    model: Annotated[str, Parameter(help="Which artifact: an id or an alias.")],
    out: Annotated[
        Path | None,
        Parameter(name=["--out", "-o"], help="CSV file to write; by default stdout."),
    ] = None,
    trusted: Annotated[
        bool, switch("The set is your own: open its models without trying them apart first.")
    ] = False,
    output: OutputOptions = OutputOptions(),
) -> int:
    """Predict the time of each step, in whole microseconds.

    One row per step: its recording and number where the steps have them, predicted_us, and
    outside: how many features lie beyond what the predictor learnt from. All steps are
    predicted as steps of the model named.

    Examples
    --------
    gpucv predict artifacts steps.parquet --model llama-2-70b
    gpucv predict artifacts recordings/ --model llama-2-70b/h100/tp4 -o times.csv
    """
    from gpucv.catalog import load_catalog
    from gpucv.cli.output import say, tell_notes
    from gpucv.export import ArtifactSet
    from gpucv.report.csv import csv_text
    from gpucv.runs import atomic_write
    from gpucv.traces import read_steps

    artifact = ArtifactSet.load(folder, trusted=trusted).model(model)
    catalog = load_catalog()
    table = read_steps(tuple(steps), base=Path.cwd(), catalog=catalog, required=())
    tell_notes(table.notes, quiet=output.quiet)
    _tell_of_others(artifact, table.frame, quiet=output.quiet)
    predictions = artifact.predict(table.frame)
    n_outside = int((predictions.outside > 0).sum())
    say(
        f"{artifact.id}: {len(table.frame):,} steps, {n_outside:,} outside what it learnt from",
        quiet=output.quiet,
    )
    told = csv_text(_rows(table.frame, predictions))
    if out is not None:
        atomic_write(out, told)
    _print(artifact, predictions, told, out, json=output.json)
    return 0


def _print(
    artifact: Artifact, predictions: Predictions, told: str, out: Path | None, *, json: bool
) -> None:
    """Print the rows, or where they are; or one object with all of it."""
    from gpucv.cli.output import print_json
    from gpucv.cli.visible import visible, visible_lines

    if json:
        print_json(
            {
                "artifact": artifact.id,
                "target": artifact.entry.target,
                "steps": len(predictions.us),
                "steps_outside": int((predictions.outside > 0).sum()),
                "out": None if out is None else str(out),
                "predicted_us": predictions.us.tolist(),
                "outside": predictions.outside.tolist(),
            }
        )
    else:
        # A file or a pipe gets every byte of a name; a terminal must not obey it.
        rows = visible_lines(told) if sys.stdout.isatty() else told
        print(rows if out is None else visible(str(out)), end="" if out is None else "\n")


def _rows(frame: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    """Return one row per step."""
    from gpucv.schema import EXPERIMENT, STEP_ID

    named = [name for name in (EXPERIMENT, STEP_ID) if name in frame.columns]
    return frame[named].assign(predicted_us=predictions.us, outside=predictions.outside)


def _tell_of_others(artifact: Artifact, frame: pd.DataFrame, *, quiet: bool) -> None:
    """Warn of steps that say they are of another configuration."""
    from gpucv.cli.output import say
    from gpucv.schema import GPU, MODEL, TP

    entry = artifact.entry
    for column, own in ((MODEL, entry.model), (GPU, entry.gpu), (TP, str(entry.tp))):
        if column not in frame.columns:
            continue
        other = [str(each) for each in frame[column].dropna().unique() if str(each) != own]
        if other:
            say(
                f"warning: steps of {column} {', '.join(sorted(other)[:4])} are predicted as of "
                f"{own}",
                quiet=quiet,
            )
