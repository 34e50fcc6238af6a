"""From a run, or a study, to an artifact set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpucv._version import __version__
from gpucv.errors import DataError, RunError, StudyError, nearest
from gpucv.export.build import Source, Told, build_artifact, unknown_features
from gpucv.export.files import must_be_free, write_set
from gpucv.export.formulas import Formulas, inputs_of_frame
from gpucv.export.manifest import ARTIFACT_SCHEMA, KIND, Dropped, Manifest, StudyEntry
from gpucv.export.program import INPUTS
from gpucv.export.reduced import Budget, FoldScores, means_by_scheme, run_again, without
from gpucv.export.scores import held_out_scores, of_predictor
from gpucv.export.training import Learnt, learn_each, must_be_exportable
from gpucv.features.views import plan_views
from gpucv.frames.cpu import PandasColumns
from gpucv.pipelines import columns_of
from gpucv.predictors import check_params
from gpucv.runs import now
from gpucv.study import PredictorSpec, fingerprint
from gpucv.workflow.execution import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.export.configurations import Configuration
    from gpucv.features import FeatureTable
    from gpucv.folds import Progress
    from gpucv.study import Study
    from gpucv.workflow.exported_rows import Subject

__all__ = ["ExportRequest", "export_set"]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and within which bounds.

    Attributes
    ----------
    predictor : str
        Label or name; "" takes the study's first xgboost.
    drop_trace_only : bool
        Whether to leave out features that no simulator can compute, rather than refuse.
    budget : Budget
    """

    predictor: str = ""
    drop_trace_only: bool = False
    budget: Budget = field(default_factory=Budget)


def export_set(
    subject: Subject,
    out: Path,
    request: ExportRequest,
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> Manifest:
    """Train one predictor per configuration and write the set.

    Parameters
    ----------
    subject : Subject
    out : Path
        A folder that does not exist, or is empty.
    request : ExportRequest
    say : callable
        Told in a line what was left out, and what that costs.
    progress : Progress, optional
        Told of every fold that has to run again.

    Raises
    ------
    DataError
        If the predictor needs what no simulator knows, or does not keep to the budget.
    StudyError
        If the predictor cannot be exported.
    EnvironmentFaultError
        If the set cannot be written.
    """
    must_be_free(out)
    spec = _chosen(subject.study, request.predictor)
    must_be_exportable(spec)
    again = progress or Silent()
    rows = [each.rows for each in subject.configurations]
    sources = [_source(subject, each) for each in subject.configurations]
    table, scores, dropped = _simulator_features(subject, spec, sources, request, say, again)
    learnt = learn_each(spec, subject.study, table, rows)
    budget = request.budget
    if budget.max_bytes or budget.max_us:
        fitting = _rounds(sources, learnt, budget)
        planted = max(each.rounds or spec.params["n_estimators"] for each in learnt)
        if fitting < planted:
            before = scores.mape if scores else {}
            spec = spec.model_copy(update={"params": {**spec.params, "n_estimators": fitting}})
            scores = _again(subject, spec, table, scores, again)
            learnt = learn_each(spec, subject.study, table, rows)
            say(f"pruned from {planted} trees to {fitting}: {_cost(before, scores)}")
            dropped = _merged(dropped, before, scores, planted - fitting)
    return _written(subject, out, sources, learnt, scores, dropped)


def _chosen(study: Study, wanted: str) -> PredictorSpec:
    """Return the predictor to export, every default of its parameters written out."""
    if wanted:
        found = [each for each in study.predictors if wanted in (each.title, _whole_name(each))]
        if not found:
            titles = list(dict.fromkeys(_whole_name(each) for each in study.predictors))
            msg = (
                f"--predictor {wanted!r} is none of the study's{nearest(wanted, titles)}; it has "
                f"{', '.join(titles)}"
            )
            raise StudyError(msg)
    else:
        found = [each for each in study.predictors if each.name == "xgboost"]
        if not found:
            msg = "the study has no xgboost predictor to export; add one and run it again"
            raise StudyError(msg)
    spec = found[0]
    params = check_params(spec.name, spec.params).model_dump()
    return spec.model_copy(update={"params": params})


def _whole_name(spec: PredictorSpec) -> str:
    """Return a predictor's title and transform, which together are one study's own."""
    return f"{spec.title}/{spec.transform}"


def _source(subject: Subject, configuration: Configuration) -> Source:
    rows = configuration.rows
    frame = subject.frame.iloc[rows].reset_index(drop=True)
    plan = plan_views(subject.study, PandasColumns(subject.frame))
    return Source(
        configuration=configuration,
        formulas=Formulas(frame, plan, subject.loaded.catalog),
        inputs=inputs_of_frame(frame),
        X=subject.table.X[rows],
        y=subject.table.y[rows],
    )


def _simulator_features(
    subject: Subject,
    spec: PredictorSpec,
    sources: list[Source],
    request: ExportRequest,
    say: Callable[[str], None],
    progress: Progress,
) -> tuple[FeatureTable, FoldScores | None, Dropped | None]:
    """Return the table with what a simulator can compute, and what is scored on it."""
    columns = columns_of(spec, subject.table)
    unknown = {
        name
        for each in sources
        for name in unknown_features(each, columns.names, columns.positions)
    }
    scores = _scores_of_run(subject, spec)
    if not unknown:
        return subject.table, scores, None
    names = tuple(name for name in columns.names if name in unknown)
    table = without(subject.table, spec, names)
    before = scores.mape if scores else {}
    scores = _again(subject, spec, table, scores, progress)
    told = f"{len(names)} trace-only features ({', '.join(names)})"
    if not request.drop_trace_only:
        msg = (
            f"predictor {spec.title!r} reads {told}, which no simulator knows; without them: "
            f"{_cost(before, scores)}; export without them with --drop-trace-only"
        )
        raise DataError(msg)
    say(f"left out {told}: {_cost(before, scores)}")
    after = scores.mape if scores else {}
    return table, scores, Dropped(features=names, mape_before=before, mape_after=after)


def _scores_of_run(subject: Subject, spec: PredictorSpec) -> FoldScores | None:
    """Return what the run scored; None without one."""
    if subject.result is None:
        return None
    folds = of_predictor(subject.result.folds, spec)
    folds = folds[folds["status"] == "ok"]
    if folds.empty:
        msg = f"the run has no finished fold of predictor {spec.title!r} ({spec.transform})"
        raise RunError(msg)
    scored = zip(folds["scheme"], folds["test_mape"], strict=True)
    return FoldScores(means_by_scheme(scored), of_predictor(subject.result.predictions, spec))


def _again(
    subject: Subject,
    spec: PredictorSpec,
    table: FeatureTable,
    scores: FoldScores | None,
    progress: Progress,
) -> FoldScores | None:
    """Return what a smaller predictor scores on the same folds; None where nothing was scored."""
    return None if scores is None else run_again(subject.study, spec, table, progress)


def _rounds(sources: list[Source], learnt: list[Learnt], budget: Budget) -> int:
    """Return how many rounds every configuration's model may have."""
    found = []
    for source, each in zip(sources, learnt, strict=True):
        known = [source.formulas.of(name) for name in each.columns.names]
        program, _ = source.formulas.trace.program([f.traced for f in known if f is not None])
        found.append(budget.rounds(source.configuration.id, each.model, len(program.ops)))
    return min(found)


def _merged(
    dropped: Dropped | None,
    before: dict[str, float | None],
    scores: FoldScores | None,
    trees: int,
) -> Dropped:
    after = scores.mape if scores else {}
    if dropped is None:
        return Dropped(trees=trees, mape_before=before, mape_after=after)
    return dropped.model_copy(update={"trees": trees, "mape_after": after})


def _cost(before: dict[str, float | None], scores: FoldScores | None) -> str:
    """Say what each scheme's mean MAPE was, and is."""
    if scores is None:
        return "at a cost not measured (no run)"

    def told(value: float | None) -> str:
        return "none" if value is None else f"{value:.1f} %"

    return ", ".join(
        f"{scheme} MAPE {told(before.get(scheme))} -> {told(mape)}"
        for scheme, mape in scores.mape.items()
    )


def _written(
    subject: Subject,
    out: Path,
    sources: list[Source],
    learnt: list[Learnt],
    scores: FoldScores | None,
    dropped: Dropped | None,
) -> Manifest:
    study = subject.study
    files: dict[str, bytes] = {}
    entries = []
    for number, (source, each) in enumerate(zip(sources, learnt, strict=True), 1):
        held_out = (
            held_out_scores(
                scores.predictions,
                subject.table,
                study.data.experiment,
                source.configuration.rows,
            )
            if scores is not None
            else ()
        )
        told = Told(number, subject.configurations, study.data.target, held_out, dropped)
        entry, made = build_artifact(source, each, told)
        entries.append(entry)
        files |= made
    manifest = Manifest(
        schema=ARTIFACT_SCHEMA,
        kind=KIND,
        gpucv=__version__,
        created=now(),
        study=StudyEntry(name=study.name, fingerprint=fingerprint(study)),
        data_fingerprint=subject.table.fingerprint,
        synthetic=subject.rows.synthetic,
        inputs=INPUTS,
        artifacts=tuple(entries),
    )
    write_set(out, manifest.to_json(), files)
    return manifest
