"""What a user should do with the result, said no stronger than the numbers allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.analysis.aggregate import SchemeSummary
    from gpucv.analysis.gap import OptimismGap
    from gpucv.analysis.meaning import SchemeMeaning

__all__ = ["what_follows"]


def what_follows(
    schemes: Sequence[SchemeSummary], gaps: Sequence[OptimismGap], mape_max: float
) -> tuple[str, ...]:
    """Return what follows from each scheme, then from the schemes taken together.

    Parameters
    ----------
    schemes : sequence of SchemeSummary
        Of one formulation, controls included.
    gaps : sequence of OptimismGap
        Between those schemes and those controls.
    mape_max : float
        Test MAPE in percent from which on a fold counts as missed.
    """
    held_out = [scheme for scheme in schemes if not scheme.meaning.control]
    sentences = [_one_scheme(scheme, mape_max) for scheme in held_out]
    sentences += [_carried_by_one(scheme) for scheme in held_out if _one_fold_dominates(scheme)]
    sentences += _models_against_workloads(held_out)
    sentences += [gap.sentence for gap in gaps]
    return tuple(sentences)


def _one_scheme(scheme: SchemeSummary, mape_max: float) -> str:
    meaning = scheme.meaning
    folds = f"n = {scheme.n_finished} of {scheme.n_planned} folds"
    if not scheme.n_finished:
        return (
            f"{scheme.scheme}: no fold finished, so nothing follows for {meaning.an_unseen_group}."
        )
    worst = f"worst {scheme.worst_mape:.1f}%, {scheme.worst_holdout}; {folds}"
    if scheme.worst_mape >= mape_max:
        return (
            f"{scheme.scheme}: one predictor does not hold on {meaning.asked} ({worst}). "
            f"{_remedy(meaning)}"
        )
    if not scheme.complete:
        return (
            f"{scheme.scheme}: the finished folds stay below {mape_max:g}% ({worst}), but the "
            f"missing ones decide whether one predictor serves {meaning.an_unseen_group}."
        )
    served = f"{meaning.a_group} it has not seen" if meaning.unseen else meaning.asked
    return (
        f"{scheme.scheme}: every fold stays below {mape_max:g}% ({worst}): one predictor can "
        f"serve {served}, as far as these {scheme.n_finished} folds stand for it."
    )


def _remedy(meaning: SchemeMeaning) -> str:
    if meaning.temporal:
        return (
            "Train on rows from the whole of a recording, or fit anew as it goes on: what its "
            "beginning teaches does not last."
        )
    if meaning.held_out == ("model",) and meaning.unseen:
        return (
            "Fit one predictor per model, each on that model's own rows; how well those "
            "do was not measured here."
        )
    return (
        f"Record some rows {meaning.of_a_group} and train on them before trusting predictions for "
        f"it; how many are needed was not measured here."
    )


def _one_fold_dominates(scheme: SchemeSummary) -> bool:
    return scheme.n_finished >= 3 and scheme.worst_mape > 0.5 * scheme.sum_mape


def _carried_by_one(scheme: SchemeSummary) -> str:
    return (
        f"{scheme.scheme}: {scheme.worst_holdout} carries the average of "
        f"{scheme.average_mape:.1f}%; the other folds average {scheme.rest_average:.1f}% "
        f"(n = {scheme.n_finished - 1}) and the median fold is {scheme.median_mape:.1f}%."
    )


def _models_against_workloads(schemes: Sequence[SchemeSummary]) -> list[str]:
    of_model, of_workload = _leaving_one(schemes, "model"), _leaving_one(schemes, "workload")
    if of_model is None or of_workload is None:
        return []
    easier, harder = sorted((of_workload, of_model), key=lambda scheme: scheme.average_mape)
    if not 0 < easier.average_mape < harder.average_mape:
        return []
    ratio = harder.average_mape / easier.average_mape
    return [
        f"In these folds an unseen {harder.meaning.group} cost more than an unseen "
        f"{easier.meaning.group}: "
        f"average MAPE {harder.average_mape:.1f}% (n = {harder.n_finished}) against "
        f"{easier.average_mape:.1f}% (n = {easier.n_finished}), a factor of {ratio:.1f}. "
        f"{_how_sure(easier, harder)}"
    ]


def _how_sure(easier: SchemeSummary, harder: SchemeSummary) -> str:
    """Say whether drawing the folds again leaves the two averages in this order."""
    (low, _), (_, high) = harder.intervals["test_mape"], easier.intervals["test_mape"]
    if math.isnan(low) or math.isnan(high):
        return "So few folds have no interval: how sure that is, is not known."
    overlap = "overlap: other folds could turn this round" if low <= high else "do not overlap"
    return f"Their 95% intervals {overlap}."


def _leaving_one(schemes: Sequence[SchemeSummary], column: str) -> SchemeSummary | None:
    """Return the first scheme with a finished fold that leaves out one value of `column`."""
    for scheme in schemes:
        meaning = scheme.meaning
        alone = meaning.held_out == (column,) and meaning.unseen and not meaning.several
        if scheme.n_finished and alone:
            return scheme
    return None
