"""``gpucv validate``: everything a run does before it trains."""

from __future__ import annotations

from gpucv.cli.options import OutputOptions, StudyFile, StudyOptions

__all__ = ["validate"]


def validate(
    study: StudyFile,
    *,
    options: StudyOptions = StudyOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Check a study and its data, and print the folds it would run; train nothing.

    Examples
    --------
    gpucv validate study.toml
    gpucv validate study.toml --set data.target=step.cycle_us --json
    """
    from gpucv.cli.output import tell_notes, tell_plan
    from gpucv.cli.run import print_plan
    from gpucv.study import load_study
    from gpucv.workflow import prepare

    prepared = prepare(load_study(study, options.overrides()), options.checked_limit())
    tell_notes(prepared.notes, quiet=output.quiet)
    tell_plan(prepared, quiet=output.quiet)
    print_plan(prepared, json=output.json)
    return 0
