"""``gpucv certificate``: what a cluster's parts know each other by."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions

__all__ = ["certificate"]


def certificate(
    file: Annotated[Path, Parameter(help="The file to write; it must not exist.")],
    *,
    days: Annotated[int, Parameter(help="How long it is good for.")] = 30,
    output: OutputOptions = OutputOptions(),
) -> int:
    """Make a certificate for a Dask cluster, and say how to start one with it.

    Key and certificate stand in one file that only you can read. Scheduler, workers and gpucv
    use the same one; who has no copy is let into none of them.

    Examples
    --------
    gpucv certificate cluster/tls.pem
    gpucv certificate cluster/tls.pem --days 7
    """
    from gpucv.cli.output import print_json
    from gpucv.folds.cluster import write_certificate
    from gpucv.machine import expanded

    file = expanded(file).absolute()
    write_certificate(file, days)
    if output.json:
        print_json({"file": str(file), "days": days})
    else:
        print("\n".join(_lines(shlex.quote(str(file)), days)))
    return 0


def _lines(file: str, days: int) -> list[str]:
    """Return what to start with the certificate, as lines for a shell."""
    tls = f"--protocol tls --tls-ca-file {file} --tls-cert {file} --tls-key {file}"
    # Without a dashboard Dask still answers HTTP, on every network unless told otherwise.
    http = "--no-dashboard --dashboard-address 127.0.0.1:0"
    return [
        f"# good for {days} days; copy it to other hosts over ssh, and keep it to yourself",
        f"dask scheduler {tls} {http}",
        f"dask worker tls://HOST:8786 {tls} {http}",
        f"gpucv run STUDY --scheduler tls://HOST:8786 --tls {file}",
    ]
