"""Who gets in: the ports of gpucv's own cluster, and of one that uses its certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.errors import EnvironmentFaultError
from gpucv.folds.cluster import open_cluster, write_certificate
from gpucv.folds.cluster.certificates import temporary_security
from gpucv.folds.exchange import Exchange
from gpucv.folds.placement import Placement
from gpucv.predictors.distributed import close_tracker, open_tracker
from gpucv.study import ExecutionSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOPBACK = {"127.0.0.1", "::1"}
LISTENING = "0A"  # of include/net/tcp_states.h


def addresses(table: str) -> dict[str, tuple[str, int]]:
    """Every socket that listens by a table of /proc/net: its inode, and where."""
    found = {}
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        words = line.split()
        host, port = words[1].split(":")
        # Words of four bytes, each in this machine's byte order.
        raw = b"".join(bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8))
        family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
        if words[3] == LISTENING:
            found[words[9]] = (socket.inet_ntop(family, raw), int(port, 16))
    return found


def listeners(*processes: int) -> set[tuple[str, int]]:
    """Where these processes listen for TCP."""
    tables = addresses("tcp") | addresses("tcp6")
    found = set()
    for process in processes:
        for file in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                inode = re.fullmatch(r"socket:\[(\d+)\]", str(file.readlink()))
                if inode and inode[1] in tables:
                    found.add(tables[inode[1]])
    return found


def knock(address: str, security: Any) -> str:
    """Ask whoever listens at an address who it is, as a Dask client does; return what came."""
    from distributed.comm.core import connect

    async def ask() -> str:
        async with asyncio.timeout(20):
            comm = await connect(address, timeout=3, **security.get_connection_args("client"))
            await comm.write({"op": "identity", "reply": True})
            answer = await comm.read()
            await comm.close()
            return str(answer["type"])

    return asyncio.run(ask())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one worker process, as gpucv starts it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    placement = Placement("dask", "cpu", 1, 1, 1, "in-memory", 0, 0, 0, ())
    with open_cluster(ExecutionSpec(), placement, "") as running:
        running.client.wait_for_workers(1)
        yield running


def doors(client: Any) -> dict[str, str]:
    """The addresses of a scheduler, a worker and the nanny that watches it."""
    ((address, worker),) = client.scheduler_info()["workers"].items()
    return {"Scheduler": client.scheduler.address, "Worker": address, "Nanny": worker["nanny"]}


def test_own_cluster_lets_in_nobody_without_its_certificate(cluster: Any) -> None:
    from distributed import Security

    ours = cluster.client.security
    for kind, address in doors(cluster.client).items():
        assert address.startswith("tls://127.0.0.1:")
        assert knock(address, ours) == kind
        plain = address.replace("tls://", "tcp://")
        for place, stranger in ((plain, Security()), (address, temporary_security())):
            with pytest.raises((OSError, TimeoutError)):
                knock(place, stranger)
        # One that takes us for what we are, and is itself a stranger: the certificate is no secret.
        stranger.tls_ca_file = ours.tls_ca_file
        with pytest.raises((OSError, TimeoutError)):
            knock(address, stranger)


def test_own_cluster_listens_on_loopback_alone_dashboards_included(cluster: Any) -> None:
    (worker,) = cluster.client.run(os.getpid).values()
    found = listeners(os.getpid(), worker)
    assert len(found) >= 5, "scheduler, nanny, worker, and HTTP of scheduler and worker"
    assert {host for host, _ in found} <= LOOPBACK


def test_own_clusters_key_is_in_no_file_argument_or_variable(cluster: Any, tmp_path: Path) -> None:
    (worker,) = cluster.client.run(os.getpid).values()
    assert "PRIVATE KEY" in cluster.client.security.tls_client_key
    seen = [Path(f"/proc/{worker}/{what}").read_bytes() for what in ("cmdline", "environ")]
    seen += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [told for told in seen if b"PRIVATE KEY" in told]


def test_the_place_where_training_processes_meet_is_on_the_address_given() -> None:
    port = open_tracker(2, "127.0.0.1")
    try:
        assert ("127.0.0.1", port) in listeners(os.getpid())
        assert ("0.0.0.0", port) not in listeners(os.getpid())
    finally:
        close_tracker(port)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start programs of this environment; they are ended with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        program = Path(sys.executable).parent / words[0]
        begun.append(
            subprocess.Popen(
                [program, *words[1:]], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        return begun[-1]

    yield start
    for each in reversed(begun):
        each.kill()
        each.communicate()


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists() or not path.read_bytes():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)


def test_a_study_runs_over_tls_by_the_lines_that_making_a_certificate_prints(
    study: dict[str, Any],
    tmp_path: Path,
    programs: Callable[..., subprocess.Popen[bytes]],
    undisturbed: dict[str, bytes],
    results_of: Callable[[Path], dict[str, bytes]],
) -> None:
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    told, _ = programs("gpucv", "certificate", "tls.pem").communicate()
    scheduler, worker, client = (
        shlex.split(line) for line in told.decode().splitlines() if not line.startswith("#")
    )
    at = tmp_path / "scheduler.json"
    programs(*scheduler, "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(at))
    wait_for(at)
    address = json.loads(at.read_text())["address"]
    assert address.startswith("tls://127.0.0.1:")

    def filled(words: list[str]) -> list[str]:
        given = {"tls://HOST:8786": address, "STUDY": "study.toml"}
        return [given.get(word, word) for word in words]

    programs(*filled(worker), "--nthreads", "1", "--local-directory", str(tmp_path))
    # The key of the client is open to others meanwhile, which is told and no more.
    (tmp_path / "tls.pem").chmod(0o644)
    run = programs(*filled(client), "--out", "remote")
    _, complaints = run.communicate(timeout=200)
    assert run.returncode == 0, complaints.decode()
    pem = tmp_path / "tls.pem"
    (warning,) = re.findall(r"warning: (.*)", complaints.decode())
    assert warning.startswith(f"other users can read {pem}, and whoever has that key is let in")
    assert warning.endswith(f"chmod 600 {pem}")
    assert results_of(tmp_path / "remote") == undisturbed
    records = [json.loads(f.read_text()) for f in tmp_path.glob("remote/folds/*/result.json")]
    assert {record["worker"]["name"].partition("://")[0] for record in records} == {"tls"}
    with pytest.raises(EnvironmentFaultError, match="wants certificates"):
        gpucv.run({**study, "execution": {"scheduler": address}}, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_a_certificate_of_ones_own_making_opens_no_door_of_another(
    cluster: Any, tmp_path: Path
) -> None:
    from distributed import Security

    write_certificate(tmp_path / "theirs.pem")
    pem = str(tmp_path / "theirs.pem")
    theirs = Security(
        require_encryption=True, tls_ca_file=pem, tls_client_cert=pem, tls_client_key=pem
    )
    with pytest.raises((OSError, TimeoutError)):
        knock(cluster.client.scheduler.address, theirs)


@pytest.mark.parametrize(("mode", "told"), [(0o777, 1), (0o755, 0)])
def test_an_exchange_that_everyone_can_change_is_told_of(
    mode: int, told: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    with caplog.at_level(logging.WARNING, logger="gpucv"):
        Exchange.of_run(str(shared), tmp_path / "run").prepare()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == told
    assert all(f"chmod o-w {shared}" in message for message in messages)
