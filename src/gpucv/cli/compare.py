"""``gpucv compare``: runs side by side, and gates that fail a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions, switch
from gpucv.errors import StudyError

__all__ = ["compare"]


def compare(
    baseline: Annotated[
        Path, Parameter(help="The run folder to compare with, or a file of gpucv bench.")
    ],
    *runs: Annotated[
        Path, Parameter(help="Run folders (or such files), each set against the baseline.")
    ],
    fail: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            consume_multiple=False,
            help="Exit with 5 if worse: mape:+2%, mape:+0.5 (points), fit:+10%. Repeatable.",
        ),
    ] = (),
    markdown: Annotated[bool, switch("Print Markdown for a pull request.")] = False,
    force: Annotated[bool, switch("Compare other data, targets, devices and machines.")] = False,
    output: OutputOptions = OutputOptions(),
) -> int:
    """Set runs against a baseline: accuracy, speed, plan, data, study, versions.

    Folds are matched by scheme, holdout, predictor and transform; differences have 95 %
    intervals. Gates are mape, wape, p99_ape and time_error, per scheme and predictor, and
    fit and predict, per predictor.

    Results of gpucv bench compare likewise; their gates are wall, memory, and any phase.

    Examples
    --------
    gpucv compare runs/main runs/branch
    gpucv compare runs/main runs/branch --fail mape:+2% --fail fit:+10% --markdown
    gpucv compare bench/main.json bench/branch.json --fail wall:+10%
    """
    from gpucv.cli.output import print_json, say
    from gpucv.report.comparison import (
        comparison_json,
        failed_lines,
        print_comparison,
        render_comparison,
    )
    from gpucv.workflow.comparing import compare as set_against
    from gpucv.workflow.rendering import from_others

    if markdown and output.json:
        raise StudyError("--markdown and --json: print one of them")
    if baseline.is_file():
        return _benchmarks((baseline, *runs), fail, output, markdown=markdown, force=force)
    with from_others(baseline, *runs):
        found = set_against(baseline, *runs, fail=fail, force=force)
        if output.json:
            print_json(comparison_json(found))
        elif markdown:
            print(render_comparison(found), end="")
        else:
            print_comparison(found)
    for line in failed_lines(found):
        say(f"gpucv: beyond a threshold: {line}")
    return 0 if found.ok else 5


def _benchmarks(
    results: tuple[Path, ...],
    fail: tuple[str, ...],
    output: OutputOptions,
    *,
    markdown: bool,
    force: bool,
) -> int:
    """Compare results of benchmarks; return the exit code."""
    from gpucv.benchmark.comparing import compare_results
    from gpucv.benchmark.comparison_tables import (
        compared_json,
        failed_benchmarks,
        print_compared,
        render_compared,
    )
    from gpucv.cli.output import print_json, say

    found = compare_results(*results, fail=fail, force=force)
    if output.json:
        print_json(compared_json(found))
    elif markdown:
        print(render_compared(found), end="")
    else:
        print_compared(found)
    for line in failed_benchmarks(found):
        say(f"gpucv: beyond a threshold: {line}")
    return 0 if found.ok else 5
