"""``gpucv tune``: predictors beside their tuned selves, fold by fold."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions, RunOptions, StudyFile, StudyOptions, switch
from gpucv.errors import EnvironmentFaultError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.report.tables import Table
    from gpucv.runs import FoldRecord
    from gpucv.workflow import PreparedStudy, Result
    from gpucv.workflow.tuning import TunedFold

__all__ = ["tune"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TuningOptions:
    """What is tuned, and how hard."""

    trials: Annotated[int, Parameter(help="Candidates drawn in every fold.")] = 20
    predictor: Annotated[
        str,
        Parameter(
            show_default=False,
            help="Tune the predictor of this label or name; by default every xgboost.",
        ),
    ] = ""
    space: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            consume_multiple=False,
            help="Tune this instead: max_depth=2,12 or learning_rate=0.01,0.3,log. Repeatable.",
        ),
    ] = ()
    transforms: Annotated[bool, switch("Choose the transform of the target, too.")] = False
    storage: Annotated[
        str,
        Parameter(
            show_default=False,
            help="Keep every search for optuna-dashboard, too: sqlite:///searches.db.",
        ),
    ] = ""


def tune(
    study: StudyFile,
    *,
    where: RunOptions = RunOptions(),
    tuning: TuningOptions = TuningOptions(),
    options: StudyOptions = StudyOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Tune predictors inside every fold of a study, and say what that gains.

    Each fold draws candidates, scores them by cross-validation over whole groups of its own
    training rows, and fits the best to all of them. The rows held out choose nothing, so
    the error printed is that of the whole procedure on a configuration never seen. What the
    folds agree on is printed as TOML, and kept in tuned.toml.

    Examples
    --------
    gpucv tune study.toml --trials 50 --transforms
    gpucv tune study.toml --predictor "deep trees" --space max_depth=6,14
    """
    from gpucv.cli.output import say
    from gpucv.cli.run import plan, print_plan, tell_tracker, train
    from gpucv.pipelines import n_fits
    from gpucv.study import load_study
    from gpucv.workflow.tuning import (
        TuneRequest,
        finished_records,
        parse_space,
        tuned_folds,
        tuning_study,
    )

    if tuning.trials < 1:
        msg = f"--trials {tuning.trials}: draw at least 1 candidate"
        raise StudyError(msg)
    space = parse_space(tuning.space)
    request = TuneRequest(tuning.trials, tuning.predictor, space, tuning.transforms)
    loaded, pairs = tuning_study(load_study(study, options.overrides()), request)
    prepared, folder = plan(loaded, where, options, output)
    fits = sum(n_fits(task.predictor) for task in prepared.tasks)
    say(f"about {fits:,} fits, those inside the folds included", quiet=output.quiet)
    if where.dry_run:
        print_plan(prepared, json=output.json)
        return 0
    with _kept(tuning.storage) as keep:
        result = train(prepared, folder, output)
        records = finished_records(prepared, result)
        keep(prepared, result, records)
    tell_tracker(result, where.track)
    folds = tuned_folds(records, pairs)
    with contextlib.suppress(BrokenPipeError):  # a reader that left changes no outcome
        _tell(result, folds, json=output.json)
    return 0 if result.ok else 1


@contextlib.contextmanager
def _kept(url: str) -> Iterator[Callable[..., None]]:
    """Open the storage before anything is trained; yield what writes the searches to it.

    Where they cannot be written nothing is lost: every fold's record has its own.
    """
    from gpucv.cli.output import say
    from gpucv.pipelines import SearchStorage
    from gpucv.workflow.tracking import store_searches

    if not url:
        yield lambda prepared, result, records: None
        return
    storage = SearchStorage(url)

    def keep(prepared: PreparedStudy, result: Result, records: Sequence[FoldRecord]) -> None:
        try:
            store_searches(prepared, result, records, storage)
        except EnvironmentFaultError as fault:
            say(f"warning: {fault}; the run itself is complete")

    with contextlib.closing(storage):
        yield keep


def _tell(result: Result, folds: Sequence[TunedFold], *, json: bool) -> None:
    """Print what tuning gained, and the predictors the folds agree on."""
    from gpucv.cli.output import print_json
    from gpucv.cli.run import summary
    from gpucv.cli.visible import visible, visible_lines
    from gpucv.runs import RunLayout

    layout = RunLayout(result.path)
    agreed = layout.tuned.read_text(encoding="utf-8") if layout.tuned.exists() else ""
    if json:
        told = {"tuning": [fold.to_json() for fold in folds], "consensus": agreed}
        print_json({**summary(result), **told})
        return
    _print_tables(folds)
    if agreed:
        print(visible_lines(f"\n{agreed}"))
        print(visible(f"tuned     {layout.tuned}"))
    print(visible(f"findings  {layout.findings}"))
    print(visible(f"report    {layout.page}"))


def _print_tables(folds: Sequence[TunedFold]) -> None:
    from rich.console import Console, Group

    from gpucv.report.terminal import titled_table

    console = Console(highlight=False)
    by_table = dict.fromkeys((fold.scheme, fold.predictor, fold.transform) for fold in folds)
    for key in by_table:
        rows = [fold for fold in folds if (fold.scheme, fold.predictor, fold.transform) == key]
        console.print(Group(*titled_table(_table(rows), console.width)))


def _table(folds: Sequence[TunedFold]) -> Table:
    """Return the folds of one scheme and predictor, with the average of those with both."""
    from math import isfinite, nan
    from statistics import fmean

    from gpucv.report.cells import clean, percent, share
    from gpucv.report.tables import Column, Table

    first = folds[0]
    title = f"{first.scheme}: {first.predictor}"
    title += f" on {first.transform}" if first.transform != "raw" else ""
    rows = [
        (clean(f.holdout), percent(f.default_mape), percent(f.tuned_mape), _told(f.chosen))
        for f in folds
    ]
    both = [f for f in folds if isfinite(f.default_mape) and isfinite(f.tuned_mape)]
    default = fmean(f.default_mape for f in both) if both else nan
    tuned = fmean(f.tuned_mape for f in both) if both else nan
    rows.append((f"average, {share(len(both), len(folds))}", percent(default), percent(tuned), ""))
    by = dict.fromkeys(f.by for f in folds if f.by)
    return Table(
        title=clean(title),
        columns=(
            Column("held out", numeric=False),
            Column("default %"),
            Column("tuned %"),
            Column("chosen", numeric=False),
        ),
        rows=tuple(rows),
        n_summary=1,
        note=f"MAPE on the rows held out; chosen by {clean(' or '.join(by), longest=200)}",
    )


def _told(chosen: dict[str, object]) -> str:
    """Write a choice in one cell."""
    from gpucv.report.cells import clean

    def told(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return clean(", ".join(f"{name} {told(value)}" for name, value in chosen.items()), longest=400)
