"""``gpucv resume``: finish a run that was interrupted, or retry what failed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpucv.cli.options import ExecutionOptions, OutputOptions, switch

__all__ = ["resume"]


def resume(
    run: Annotated[Path, Parameter(help="The run folder.")],
    *,
    retry_failed: Annotated[bool, switch("Run failed folds again.")] = False,
    execution: ExecutionOptions = ExecutionOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Run the folds a run folder still lacks, and report anew."""
    from gpucv.cli.output import choose_progress, say
    from gpucv.cli.run import show
    from gpucv.workflow import resume as resume_run

    try:
        result = resume_run(
            run,
            retry_failed=retry_failed,
            overrides=execution.overrides(),
            progress=choose_progress(quiet=output.quiet),
        )
    except KeyboardInterrupt:
        say(f"to finish this run: gpucv resume {shlex.quote(str(run))}")
        raise
    return show(result, output)
