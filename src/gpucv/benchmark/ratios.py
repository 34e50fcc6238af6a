"""How much longer one contender takes than another, pair by pair, and how sure that is."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpucv.benchmark.harness import Sample

__all__ = ["Ratio", "median_interval", "ratios"]

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure of a contender over that of another.

    Attributes
    ----------
    of, over : str
        Contenders: `of` / `over`, so that above 1 `over` is the faster.
    pairs : tuple of float
        One per repeat in which both ran, in order.
    median : float
        NaN without pairs.
    low, high : float
        Interval of the median; NaN below three pairs.
    confidence : float
        How often such an interval holds the median, at least.
    """

    of: str
    over: str
    pairs: tuple[float, ...]
    median: float
    low: float
    high: float
    confidence: float


def ratios(
    samples: Iterable[Sample],
    of: str,
    over: str,
    value: Callable[[Sample], float] | None = None,
) -> Ratio:
    """Divide what two contenders took, repeat by repeat.

    Parameters
    ----------
    samples : iterable of Sample
        Those of `Measurement.samples`; other contenders and failed runs are passed over.
    of, over : str
        Names of contenders.
    value : callable, optional
        The figure of a sample, such as ``lambda each: each.peak_bytes``; `wall_s` if left out.
    """
    figure = value or (lambda each: each.wall_s)
    both: dict[str, dict[int, float]] = {of: {}, over: {}}
    for each in samples:
        if each.contender in both and not each.error:
            both[each.contender][each.repeat] = figure(each)
    shared = sorted(both[of].keys() & both[over].keys())
    pairs = tuple(both[of][repeat] / both[over][repeat] for repeat in shared)
    low, high, confidence = median_interval(pairs)
    median = statistics.median(pairs) if pairs else math.nan
    return Ratio(of, over, pairs, median, low, high, confidence)


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return an interval of the median of what `values` were drawn from.

    The k-th smallest and the k-th largest hold it unless fewer than k of n draws fell on one
    side of it: a coin tossed n times, whatever the distribution (order statistics; Conover,
    Practical Nonparametric Statistics, 3.2). The narrowest pair that is right in 95 % of cases
    is taken; below six values none is, and the smallest and largest are.

    Returns
    -------
    low, high : float
        NaN below three values.
    confidence : float
        How often the interval is right, at least; 0 where there is none.
    """
    ordered, n = sorted(values), len(values)
    if n < 3:
        return math.nan, math.nan, 0.0

    def confidence(k: int) -> float:
        return 1.0 - 2.0 * sum(math.comb(n, i) for i in range(k)) / 2.0**n

    k = max((k for k in range(1, n // 2 + 1) if confidence(k) >= _CONFIDENCE), default=1)
    return ordered[k - 1], ordered[-k], confidence(k)
