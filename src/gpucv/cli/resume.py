"""``gpucv resume``: finish a run that was interrupted, or retry what failed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpucv.cli.options import ExecutionOptions, OutputOptions, Track, override, switch

__all__ = ["resume"]


def resume(
    run: Annotated[Path, Parameter(help="The run folder.")],
    *,
    retry_failed: Annotated[bool, switch("Run failed folds again.")] = False,
    track: Track = None,
    execution: ExecutionOptions = ExecutionOptions(),
    set_: Annotated[
        tuple[str, ...], override("execution.workers=2", of="execution or verdict")
    ] = (),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Run the folds a run folder still lacks, and report anew.

    Examples
    --------
    gpucv resume runs/h3
    gpucv resume runs/h3 --retry-failed --device cpu
    """
    from gpucv.cli.output import choose_progress, say
    from gpucv.cli.run import show, tell_tracker
    from gpucv.workflow import resume as resume_run
    from gpucv.workflow.tracking import must_have

    if track:
        must_have(track)
    try:
        result = resume_run(
            run,
            retry_failed=retry_failed,
            overrides=(*set_, *execution.overrides()),
            progress=choose_progress(quiet=output.quiet),
        )
    except KeyboardInterrupt:
        say(f"to finish this run: gpucv resume {shlex.quote(str(run))}")
        raise
    tell_tracker(result, track)
    return show(result, output)
