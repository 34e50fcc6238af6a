"""What a ratio multiplies by, as a formula: the answer of its baseline."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gpucv.errors import StudyError
from gpucv.predictors import check_params, registration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpucv.export.formulas import Formulas
    from gpucv.export.tracing import TracedArray

__all__ = ["BASELINES", "trace_baseline"]


def _layered(terms: list[TracedArray], found: Mapping[str, float], params: Any) -> TracedArray:
    weights, layers = terms
    answer: TracedArray = weights / params.bandwidth_efficiency + found["us_per_layer"] * layers
    return answer


def _roofline(terms: list[TracedArray], found: Mapping[str, float], params: Any) -> TracedArray:
    overhead = found.get("overhead_us", 0.0)
    factor = found.get("factor", 1.0)
    compute = terms[0] * found.get("compute_factor", factor)
    memory = terms[1] * found.get("memory_factor", factor)
    parts = params.form == "parts"
    work = compute + memory if parts else compute.trace.op("max", compute, memory)
    answer: TracedArray = overhead + work
    return answer


def _blackbox(terms: list[TracedArray], found: Mapping[str, float], params: Any) -> TracedArray:
    return found["beta0"] + found["beta1"] * terms[0] + found["beta2"] * terms[1]


def _fairbatching(terms: list[TracedArray], found: Mapping[str, float], params: Any) -> TracedArray:
    return found["a"] + found["b"] * terms[0] + found["c"] * terms[1]


BASELINES: dict[str, Callable[..., Any]] = {
    "layered-roofline": _layered,
    "roofline": _roofline,
    "blackbox": _blackbox,
    "fairbatching": _fairbatching,
    "constant": lambda terms, found, params: found["median"],
}
"""Baselines whose answer is a short formula."""


def trace_baseline(
    name: str,
    params: Mapping[str, Any],
    coefficients: Mapping[str, float],
    least: float | None,
    formulas: Formulas,
) -> TracedArray | None:
    """Return a baseline's answer as `gpucv.pipelines.single` divides by it.

    Parameters
    ----------
    name : str
    params : mapping
    coefficients : mapping
        What was fitted, by name; the answer of a constant as ``median``.
    least : float or None
        What answers where the baseline's own answer is no time.
    formulas : Formulas

    Returns
    -------
    TracedArray or None
        None where an input asks for more than a simulator knows.

    Raises
    ------
    StudyError
        If there is no formula of this baseline.
    """
    if name not in BASELINES:
        msg = (
            f"baseline {name!r} has no short formula to export; {', '.join(BASELINES)} have: "
            "choose one of them, or another transform"
        )
        raise StudyError(msg)
    trace = formulas.trace
    terms = []
    for each in registration(name).inputs or ():
        formula = formulas.of(each)
        if formula is None:
            return None
        # Predictors read float32, whatever is not finite as missing.
        rounded = trace.op("f32", formula.traced)
        finite = trace.op("le", abs(rounded), sys.float_info.max)
        terms.append(trace.op("where", finite, rounded, float("nan")))
    answer = trace.of(BASELINES[name](terms, coefficients, check_params(name, params)))
    if least is None:
        return answer
    usable = (abs(answer) <= sys.float_info.max) & (answer > 0.0)
    return trace.op("where", usable, answer, least)
