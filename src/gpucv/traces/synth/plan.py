"""Which recordings a table of so many rows is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.errors import StudyError
from gpucv.traces.synth.recording import RecordingPlan
from gpucv.traces.synth.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.traces.synth.settings import StudySettings

__all__ = ["MAXIMUM_ROWS", "MINIMUM_ROWS", "plan_recordings"]

MINIMUM_ROWS = 800
"""Fewest rows asked for: below this the shortest experiment has too few to split."""
MAXIMUM_ROWS = 10_000_000_000
"""Most rows of one table: a hundred times what the largest studies use."""

_SHORTEST = 0.05  # of the published run length: enough for the batch to fill up


def plan_recordings(rows: int | None) -> list[RecordingPlan]:
    """Return the recordings that make up a table of `rows` rows, in table order.

    Every experiment's share is that of the published study, to the row. Fewer rows
    than published come from shorter runs; more, from keeping a larger share of each
    run's steps, and once all are kept, from further independent runs of all
    experiments, each with ids of its own.

    Parameters
    ----------
    rows : int or None
        Rows in all; None for the published 122,752.

    Raises
    ------
    StudyError
        If `rows` is outside `MINIMUM_ROWS` .. `MAXIMUM_ROWS`.
    """
    settings = load_settings()
    wanted = settings.rows if rows is None else rows
    if wanted > MAXIMUM_ROWS:
        msg = f"rows is {wanted}: more than {MAXIMUM_ROWS}; make several tables from other seeds"
        raise StudyError(msg)
    if wanted < MINIMUM_ROWS:
        msg = (
            f"rows is {wanted}: too few for {len(settings.experiments)} experiments; "
            f"ask for at least {MINIMUM_ROWS}"
        )
        raise StudyError(msg)
    published_steps = round(settings.rows / settings.engine.sampling)
    replicas = -(-wanted // published_steps)
    length = min(1.0, max(wanted / settings.rows, _SHORTEST))
    # Experiments before replicas: ids, and so the whole table, come out sorted.
    plans = [
        RecordingPlan(
            experiment=experiment,
            replica=replica,
            steps=round(experiment.rows / settings.engine.sampling * length),
            rows=0,
            stage_s=settings.requests.stage_s * length,
        )
        for experiment in settings.experiments
        for replica in range(replicas)
    ]
    return list(_with_rows(plans, wanted, settings))


def _with_rows(
    plans: list[RecordingPlan], wanted: int, settings: StudySettings
) -> Iterator[RecordingPlan]:
    """Share `wanted` rows out in proportion to the published counts.

    Each recording gets the difference of the rounded cumulated shares, so that the
    counts sum to `wanted` and are the published ones for the published total.
    """
    total = settings.rows * (len(plans) // len(settings.experiments))
    before, published = 0, 0
    for plan in plans:
        published += plan.experiment.rows
        after = wanted * published // total
        yield RecordingPlan(
            experiment=plan.experiment,
            replica=plan.replica,
            steps=max(plan.steps, after - before),
            rows=after - before,
            stage_s=plan.stage_s,
        )
        before = after
