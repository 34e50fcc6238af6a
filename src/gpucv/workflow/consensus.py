"""What the folds of a run chose, as one predictor to paste into a study."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

from gpucv.analysis import scheme_meanings
from gpucv.pipelines import chooses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.runs import FoldRecord
    from gpucv.study import PredictorSpec, Study

__all__ = ["consensus", "consensus_toml"]

_HEAD = """\
# What the folds of this run chose, as one predictor each: the median of numbers drawn from
# a space, the most frequent of values listed, over the folds of every scheme that is no
# control. The errors in folds.csv are those of choosing anew in every fold. Run over the
# same data these predictors look better than they are: other folds' choices saw the rows
# a fold holds out.
"""


def consensus(study: Study, records: Sequence[FoldRecord]) -> list[dict[str, Any]]:
    """Return one table of ``[[predictors]]`` for every predictor that chose in some fold.

    Parameters
    ----------
    study : Study
    records : sequence of FoldRecord
        Of its folds; those that did not finish have no say.
    """
    meanings = scheme_meanings(study.schemes)
    grouped = [record for record in records if not meanings[record.scheme].control]
    agreed = []
    for spec in filter(chooses, study.predictors):
        choices = _choices(spec, grouped) or _choices(spec, records)
        if choices:
            agreed.append(_agreed(spec, choices))
    return agreed


def consensus_toml(study: Study, records: Sequence[FoldRecord]) -> str:
    """Return ``tuned.toml``; empty where no predictor chose anything."""
    import tomli_w

    # Each a table of its own: written as a list, a short one would stand on a single line,
    # which cannot be pasted behind other [[predictors]].
    tables = [tomli_w.dumps({"predictors": table}) for table in consensus(study, records)]
    told = [text.replace("[predictors]", "[[predictors]]", 1) for text in tables]
    return "\n".join([_HEAD, *told]) if told else ""


def _choices(spec: PredictorSpec, records: Sequence[FoldRecord]) -> list[dict[str, Any]]:
    """Return what each fold chose; of a predictor fitted per group, what each group did."""
    mine = [
        record.chosen
        for record in records
        if record.chosen and (record.predictor, record.transform) == (spec.title, spec.transform)
    ]
    return [
        choice
        for chosen in mine
        for choice in (chosen["by_group"].values() if "by_group" in chosen else [chosen])
    ]


def _agreed(spec: PredictorSpec, choices: list[dict[str, Any]]) -> dict[str, Any]:
    listed, drawn = (spec.choose.grid, spec.choose.space) if spec.choose else ({}, {})
    transform = _most_frequent([choice["transform"] for choice in choices])
    params = {name: _most_frequent([choice[name] for choice in choices]) for name in listed}
    params |= {name: _middle([choice[name] for choice in choices]) for name in drawn}
    table = spec.model_dump(mode="json", exclude={"choose"}, exclude_none=True)
    table |= {
        "label": f"{spec.title} consensus",
        "transform": transform,
        "params": {**spec.params, **params},
    }
    unused = {"baseline", "baseline_params"} if transform != "ratio" else set()
    unused |= {"smearing"} if transform == "raw" else set()
    unused |= {"params"} if not table["params"] else set()
    return {key: value for key, value in table.items() if key not in unused}


def _most_frequent(values: list[Any]) -> Any:
    """Return the mode; of equals the one met first."""
    return Counter(values).most_common(1)[0][0]


def _middle(values: list[Any]) -> int | float:
    """Return the median to four digits, whole where all values are."""
    middle = float(median(values))
    if all(isinstance(value, int) for value in values):
        return round(middle)
    return float(f"{middle:.4g}")
