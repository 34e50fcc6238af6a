"""One fit per group, and donors for groups that were never seen.

Vidur, Splitwise and BLIS fit one regressor per configuration. Such a predictor has no
answer for a configuration it was not fitted to; what people do is to borrow another's,
of the same operator on the same GPU where only the model is new. Which one to borrow must
be decided without the labels of the row it is borrowed for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import SplitError
from gpucv.metrics import mape
from gpucv.pipelines.choice import fit_ungrouped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.pipelines.base import Fitted, Report, Setting
    from gpucv.pipelines.rows import Examples, Inputs
    from gpucv.study import PredictorSpec

__all__ = ["Donation", "PerGroup", "fit_per_group"]

_NO_ROWS = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Donation:
    """What one trained group's pipeline says of a group never seen.

    Attributes
    ----------
    group, donor : str
    by_rule : bool
        Whether this donor was the one chosen, before any label of the group was looked at.
    rows : ndarray of intp
        Places of the group's rows among those asked for.
    predicted : ndarray of float64
        One prediction for each.
    """

    group: str
    donor: str
    by_rule: bool
    rows: NDArray[np.intp]
    predicted: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PerGroup:
    """Pipelines by group, and who answers for a group without one.

    Attributes
    ----------
    by_code : dict of int to Fitted
    names : tuple of str
        Names of all groups of the table, by code.
    columns : tuple of str
    donor : dict of int to int
        Which trained group answers for one never seen.
    donor_scores : dict of int to dict of int to float
        What `donor` was decided by: the score of each group that may lend, lower is better.
    widened : frozenset of int
        Groups never seen that agree with no trained group in what the fold does not hold
        out: any may lend to them.
    """

    by_code: dict[int, Fitted]
    names: tuple[str, ...]
    columns: tuple[str, ...]
    donor: dict[int, int] = field(default_factory=dict)
    donor_scores: dict[int, dict[int, float]] = field(default_factory=dict)
    widened: frozenset[int] = frozenset()

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return every row's prediction by its own group's pipeline, or its donor's.

        NaN where there is neither: see `knows`.
        """
        codes = inputs.groups(self.columns).codes
        predicted = np.full(len(inputs), np.nan)
        for code, here in _rows_by_code(codes).items():
            answering = self.by_code.get(self.donor.get(code, code))
            if answering is not None:
                predicted[here] = answering.predict(inputs.take(here))
        return predicted

    def knows(self, inputs: Inputs) -> NDArray[np.bool_]:
        """Return which rows there is an answer for: groups fitted or lent a donor."""
        answered = [*self.by_code, *self.donor]
        return np.isin(inputs.groups(self.columns).codes, answered)

    def donors(self, inputs: Inputs) -> list[Donation]:
        """Return what every donor that may lend predicts for every group never seen.

        Empty where every group was seen.
        """
        codes = inputs.groups(self.columns).codes
        donations = []
        for code, here in _rows_by_code(codes).items():
            if code not in self.donor:
                continue
            rows = inputs.take(here)
            donations += [
                Donation(
                    group=self.names[code],
                    donor=self.names[donor],
                    by_rule=self.donor[code] == donor,
                    rows=here,
                    predicted=self.by_code[donor].predict(rows),
                )
                for donor in sorted(self.donor_scores[code])
            ]
        return donations

    def report(self) -> Report:
        """Return what the fits have in common, and which donors were chosen."""
        reports = [fitted.report() for _, fitted in sorted(self.by_code.items())]
        chosen = {
            self.names[code]: report.chosen
            for (code, _), report in zip(sorted(self.by_code.items()), reports, strict=True)
            if report.chosen
        }
        donors = {
            self.names[code]: {
                "donor": self.names[donor],
                "scores": {self.names[d]: s for d, s in self.donor_scores[code].items()},
                **({"widened": True} if code in self.widened else {}),
            }
            for code, donor in self.donor.items()
        }
        first = reports[0]
        alone = len(reports) == 1
        return replace(
            first,
            best_iteration=first.best_iteration if alone else None,
            model=first.model if alone else None,
            importance=_mean_importance([report.importance for report in reports]),
            seconds=_summed([report.seconds for report in reports]),
            chosen=({"by_group": chosen} if chosen else {})
            | ({"donors": donors} if donors else {}),
        )


def fit_per_group(
    spec: PredictorSpec,
    train: Examples,
    valid: Examples | None,
    setting: Setting,
    asked: Inputs,
) -> PerGroup:
    """Fit one pipeline per group of ``spec.per``.

    Only the groups asked for are fitted where all were seen; all are where one was not.
    A group never seen borrows from those that agree with it in every column of ``spec.per``
    that the fold does not hold out; where none does, from any.

    Raises
    ------
    SplitError
        If a row asked for belongs to a group never seen, and there is no other to borrow.
    """
    columns = spec.per_columns
    labels = train.inputs.groups(columns)
    watching = valid.inputs.groups(columns).codes if valid is not None else None
    rows = _rows_by_code(labels.codes)
    watched = _rows_by_code(watching) if watching is not None else {}
    seen, wanted = set(rows), set(np.unique(asked.groups(columns).codes).tolist())
    unseen = sorted(wanted - seen)
    if unseen and not seen:
        msg = f"no group of {' x '.join(columns)} has a row to learn from"
        raise SplitError(msg)
    one = spec.model_copy(update={"per": ()})
    fitted = {
        code: fit_ungrouped(
            one,
            train.take(rows[code]),
            valid.take(watched.get(code, _NO_ROWS)) if valid is not None else None,
            setting,
        )
        for code in sorted(seen if unseen else wanted)
    }
    made = PerGroup(fitted, labels.names, columns)
    if not unseen:
        return made
    may_lend, widened = _lenders(made, train.inputs, asked, unseen, setting)
    if spec.donor == "elsewhere":
        scores = _elsewhere(made, train, may_lend)
    else:
        scores = _nearest(made, train.inputs, asked, may_lend, setting.magnitudes(spec))
    donor = {code: min(of, key=lambda each: (of[each], each)) for code, of in scores.items()}
    return replace(made, donor=donor, donor_scores=scores, widened=widened)


def _lenders(
    made: PerGroup, seen: Inputs, asked: Inputs, unseen: list[int], setting: Setting
) -> tuple[dict[int, tuple[int, ...]], frozenset[int]]:
    """Return which trained groups may lend to each group never seen, and to which any may.

    A table of another operator is no donor: it times other work.
    """
    kept = tuple(column for column in made.columns if column not in setting.group)
    everyone = tuple(sorted(made.by_code))
    if not kept:
        return dict.fromkeys(unseen, everyone), frozenset()

    def settled(inputs: Inputs) -> dict[int, int]:
        """Return what each group is in the columns kept."""
        codes, first = np.unique(inputs.groups(made.columns).codes, return_index=True)
        found = inputs.groups(kept).codes[first]
        return dict(zip(codes.tolist(), found.tolist(), strict=True))

    of_seen, of_asked = settled(seen), settled(asked)
    agreeing: dict[int, list[int]] = {}
    for code in everyone:
        agreeing.setdefault(of_seen[code], []).append(code)
    widened = frozenset(code for code in unseen if of_asked[code] not in agreeing)
    return {code: tuple(agreeing.get(of_asked[code], everyone)) for code in unseen}, widened


def _elsewhere(
    made: PerGroup, train: Examples, may_lend: dict[int, tuple[int, ...]]
) -> dict[int, dict[int, float]]:
    """Score each donor by its mean error on the others that may lend, their labels known.

    A donor without others has score 0, and no rival.
    """
    rows = _rows_by_code(train.inputs.groups(made.columns).codes)

    def mean_error(donor: int, lenders: tuple[int, ...]) -> float:
        others = [train.take(rows[code]) for code in lenders if code != donor]
        if not others:
            return 0.0
        fitted = made.by_code[donor]
        mean = float(np.mean([mape(each.y, fitted.predict(each.inputs)) for each in others]))
        return mean if np.isfinite(mean) else float("inf")

    # Many groups never seen may borrow from the same ones.
    scores = {
        lenders: {donor: mean_error(donor, lenders) for donor in lenders}
        for lenders in set(may_lend.values())
    }
    return {code: scores[lenders] for code, lenders in may_lend.items()}


def _nearest(
    made: PerGroup,
    seen: Inputs,
    asked: Inputs,
    may_lend: dict[int, tuple[int, ...]],
    positions: tuple[int, ...],
) -> dict[int, dict[int, float]]:
    """Score each donor by how far its mean features lie, in standard deviations."""
    X = seen.features(positions).astype(np.float64)
    X[:, np.isnan(X).all(axis=0)] = 0.0  # a feature that is missing everywhere tells none apart
    middle, spread = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
    scale = np.where(spread > 0, spread, 1.0)

    def centre(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of some rows, a missing value standing at the mean of all."""
        standing = np.where(np.isnan(rows), middle, rows)
        mean: NDArray[np.float64] = standing.mean(axis=0) / scale
        return mean

    seen_rows = _rows_by_code(seen.groups(made.columns).codes)
    means = {code: centre(X[seen_rows[code]]) for code in made.by_code}
    asked_rows = _rows_by_code(asked.groups(made.columns).codes)
    found = {}
    for code, lenders in may_lend.items():
        there = centre(asked.take(asked_rows[code]).features(positions).astype(np.float64))
        found[code] = {
            donor: float(np.sqrt(((means[donor] - there) ** 2).sum())) for donor in lenders
        }
    return found


def _rows_by_code(codes: NDArray[np.integer]) -> dict[int, NDArray[np.intp]]:
    """Return the places of each code's rows, ascending: one sort, however many codes."""
    order = np.argsort(codes, kind="stable")
    found, first = np.unique(codes[order], return_index=True)
    ends = np.append(first[1:], len(codes))
    return {
        code: order[start:end]
        for code, start, end in zip(found.tolist(), first, ends[: len(found)], strict=True)
    }


def _mean_importance(shares: list[dict[str, float]]) -> dict[str, float]:
    if not all(shares):
        return {}
    return {name: float(np.mean([each[name] for each in shares])) for name in shares[0]}


def _summed(seconds: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(each.get(name, 0.0) for each in seconds) for each in seconds for name in each}
