"""From what a study says of a scheduler to a client that talks to it.

Whoever reaches a Dask scheduler runs code as its workers, and a client runs what its scheduler
sends. `exposures` says where that is not kept to those it is meant for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpucv.errors import EnvironmentFaultError, clipped, shown
from gpucv.machine import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.study import ExecutionSpec

__all__ = ["connected", "exposures", "scheduler_address"]

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
    path = expanded(scheduler)
    try:
        address = json.loads(path.read_text(encoding="utf-8"))["address"]
    except OSError as error:
        msg = (
            f"cannot read the scheduler file {path}: {error.strerror or error}; start one with: "
            f"dask scheduler --scheduler-file {path}"
        )
        raise EnvironmentFaultError(msg) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = (
            f"{path} is no Dask scheduler file (it holds no address); name the one given to "
            "dask scheduler --scheduler-file"
        )
        raise EnvironmentFaultError(msg) from error
    return str(address)


def exposures(execution: ExecutionSpec) -> list[str]:
    """Return a warning for each way others could run code on the study's cluster.

    A scheduler without TLS beyond this machine is warned of and not refused: gpucv cannot see
    what guards the network between (a cluster's own, a network policy), and its workers are
    running already.
    """
    address = scheduler_address(execution.scheduler)
    found = []
    if address.startswith("tls://"):
        key = _key_file(_security(execution, address))
        if key is not None and _readable_by_others(key):
            found.append(
                f"other users can read {key}, and whoever has that key is let into the cluster; "
                f"chmod 600 {key}"
            )
        return found
    if not _on_this_machine(address):
        found.append(
            f"the scheduler at {address} is not encrypted: whoever reaches it, or its workers, "
            "runs code as their user; start them with a certificate (gpucv certificate FILE)"
        )
    if _is_file(execution.scheduler):
        path = expanded(execution.scheduler)
        if _readable_by_others(path):
            found.append(
                f"other users can read {path}, and whoever reaches a scheduler without TLS runs "
                "code as its workers; chmod 600 it, or give the scheduler a certificate"
            )
    return found


def _key_file(security: Any) -> Path | None:
    """Return where the client's private key lies; None where it is in memory."""
    key = security.tls_client_key or security.tls_client_cert
    return None if not key or "\n" in key else Path(key)


def _readable_by_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False  # gone since it was read


def _on_this_machine(address: str) -> bool:
    try:
        host = urlsplit(address if "://" in address else f"tcp://{address}").hostname or ""
    except ValueError:  # no address, as the first call to it will tell
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_file(scheduler: str) -> bool:
    if "://" in scheduler:
        return False
    return "/" in scheduler or scheduler.endswith(".json") or _is_there(scheduler)


def _is_there(scheduler: str) -> bool:
    try:
        return Path(scheduler).is_file()
    except (OSError, ValueError):  # no name a file could have
        return False


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
            tls_ca_file=str(expanded(tls.ca)),
            tls_client_cert=str(expanded(tls.cert)),
            tls_client_key=str(expanded(tls.key)),
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
            f"what answers at {shown(address)} is no Dask scheduler; name the scheduler's own port "
            "(8786 unless it was told otherwise), not its dashboard's"
        )
        raise EnvironmentFaultError(msg) from error
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        check = "the address and the certificates"
        if not address.startswith("tls:"):
            check = "the address, and whether it begins with tls://"
        why = clipped(_root_of(error))
        msg = f"no Dask scheduler answers at {shown(address)}: {why}; check {check}"
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
