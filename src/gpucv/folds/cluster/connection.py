"""From what a study says of a scheduler to a client that talks to it.

Whoever reaches a Dask scheduler runs code as its workers, so the two ways to guard one are
made easy: certificates (``tls://``), and a scheduler file that only its owner can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.study import ExecutionSpec

__all__ = ["connected", "open_to_others", "scheduler_address"]

_CONNECT_SECONDS = 30


def scheduler_address(scheduler: str) -> str:
    """Return the address in `scheduler`: itself, or what its scheduler file says.

    Raises
    ------
    EnvironmentFaultError
        If it is a path, and no scheduler file is there.
    """
    if not _is_file(scheduler):
        return scheduler
    path = Path(scheduler).expanduser()
    try:
        address = json.loads(path.read_text(encoding="utf-8"))["address"]
    except OSError as error:
        msg = (
            f"cannot read the scheduler file {path}: {error.strerror or error}; start one with: "
            f"dask scheduler --scheduler-file {path}"
        )
        raise EnvironmentFaultError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        msg = (
            f"{path} is no Dask scheduler file (it holds no address); name the one given to "
            "dask scheduler --scheduler-file"
        )
        raise EnvironmentFaultError(msg) from error
    return str(address)


def open_to_others(scheduler: str) -> str:
    """Return a warning if other users can read where an unguarded scheduler is, else ""."""
    if not _is_file(scheduler) or scheduler_address(scheduler).startswith("tls://"):
        return ""
    path = Path(scheduler).expanduser()
    if not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return ""
    return (
        f"other users can read {path}, and whoever reaches a scheduler without TLS runs code as "
        "its workers; chmod 600 it, or give the scheduler certificates"
    )


def _is_file(scheduler: str) -> bool:
    if "://" in scheduler:
        return False
    return "/" in scheduler or scheduler.endswith(".json") or Path(scheduler).is_file()


@contextlib.contextmanager
def connected(execution: ExecutionSpec) -> Iterator[Any]:
    """Connect to the study's scheduler; yield the client.

    Raises
    ------
    EnvironmentFaultError
        If there is no scheduler, or it and this process do not accept each other's
        certificates.
    """
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    address = scheduler_address(execution.scheduler)
    security = _security(execution, address)
    _must_answer(address, security)
    with (
        # A lost scheduler is told of in one line; a client logs tracebacks of it as well.
        silence_logging_cmgr(logging.CRITICAL),
        Client(address, timeout=_CONNECT_SECONDS, security=security) as client,
    ):
        yield client


def _security(execution: ExecutionSpec, address: str) -> Any:
    """Return how to speak to `address`: by the study's certificates, else as Dask is set up."""
    from distributed import Security

    tls = execution.tls
    encrypted = address.startswith("tls://")
    if tls.ca and not encrypted:
        msg = (
            f"execution.tls names certificates, and the scheduler's address {address!r} is not "
            "encrypted; use its tls:// address, or leave execution.tls out"
        )
        raise EnvironmentFaultError(msg)
    security = (
        Security(
            tls_ca_file=str(Path(tls.ca).expanduser()),
            tls_client_cert=str(Path(tls.cert).expanduser()),
            tls_client_key=str(Path(tls.key).expanduser()),
            require_encryption=True,
        )
        if tls.ca
        else Security()
    )
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ssl.SSLError) as error:
        msg = f"cannot use the certificates for {address}: {error}; check execution.tls"
        raise EnvironmentFaultError(msg) from error
    if encrypted and context is None:
        msg = (
            f"{address} wants certificates, and none are given; set execution.tls.ca, .cert and "
            ".key, or distributed.comm.tls in Dask's configuration"
        )
        raise EnvironmentFaultError(msg)
    return security


def _must_answer(address: str, security: Any) -> None:
    """Connect once, before a client is made.

    A client that finds no scheduler cannot be closed, and may later block another
    one of this process while Python collects it.
    """
    from distributed.comm.core import connect

    async def knock() -> None:
        arguments = security.get_connection_args("client")
        async with asyncio.timeout(2 * _CONNECT_SECONDS):  # Dask waits for a greeting for ever
            comm = await connect(address, timeout=_CONNECT_SECONDS, **arguments)
        await comm.close()

    try:
        with ThreadPoolExecutor(max_workers=1) as apart:  # notebooks run a loop in this thread
            apart.submit(asyncio.run, knock()).result()
    except MemoryError as error:  # the first bytes of another protocol, read as a length
        msg = (
            f"what answers at {address!r} is no Dask scheduler; name the scheduler's own port "
            "(8786 unless it was told otherwise), not its dashboard's"
        )
        raise EnvironmentFaultError(msg) from error
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        check = "the address and the certificates"
        if not address.startswith("tls:"):
            check = "the address, and whether it begins with tls://"
        msg = f"no Dask scheduler answers at {address!r}: {_root_of(error)}; check {check}"
        raise EnvironmentFaultError(msg) from error


def _root_of(error: BaseException) -> str:
    """Return why a connection failed; Dask's own words are about its objects and time-outs."""
    while True:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        cause = error.__cause__ or error.__context__
        if cause is None:
            return str(error) or f"no answer within {_CONNECT_SECONDS:g} s"
        error = cause
