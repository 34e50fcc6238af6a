"""A scheduler that runs already: plain, with certificates, and across two hosts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.cluster import connection
from gpucv.folds.resources import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

    from gpucv.study import ExecutionSpec


@pytest.fixture
def execution(loaded: Any) -> Callable[..., ExecutionSpec]:
    return lambda **settings: loaded(execution=settings).study.execution


def test_two_processes_of_a_running_scheduler_compute_the_same_bits(
    start_cluster: Any, preloads: Any, run_as_on_threads: Any
) -> None:
    with start_cluster(preloads.plain, preloads.plain) as running:
        records = run_as_on_threads("remote", scheduler=running.scheduler_address)
        assert len(running.workers) == 2
    assert {record.worker["name"] for record in records} == {"w0", "w1"}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Return certificates signed by an authority of their own, as paths."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=folder)

    def make(name: str) -> dict[str, str]:
        key = ["-newkey", "rsa:2048", "-nodes"]
        ca, cert = f"{name}-ca", f"{name}-cert"
        run("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}")
        run("req", *key, "-keyout", f"{cert}.key", "-out", f"{cert}.csr", "-subj", f"/CN={cert}")
        signed = ["-in", f"{cert}.csr", "-out", f"{cert}.pem", "-CA", f"{ca}.pem"]
        run("x509", "-req", *signed, "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2")
        files = {"ca": f"{ca}.pem", "cert": f"{cert}.pem", "key": f"{cert}.key"}
        return {what: str(folder / file) for what, file in files.items()}

    return make


@pytest.fixture
def ours(authority: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return authority("ours")


@pytest.fixture
def guarded(start_cluster: Any, preloads: Any, ours: dict[str, str]) -> Iterator[str]:
    """Address of a scheduler that wants our certificates."""
    from distributed import Security

    names = {
        f"tls_{role}_{what}": ours[what]
        for role in ("scheduler", "worker", "client")
        for what in ("cert", "key")
    }
    security = Security(tls_ca_file=ours["ca"], require_encryption=True, **names)
    with start_cluster(preloads.plain, security=security, protocol="tls://") as running:
        yield running.scheduler_address


def test_folds_run_over_tls(guarded: str, ours: dict[str, str], run_as_on_threads: Any) -> None:
    assert guarded.startswith("tls://")
    run_as_on_threads("tls", scheduler=guarded, tls=ours)


def test_dasks_own_configuration_names_certificates_too(
    guarded: str, ours: dict[str, str], execution: Any
) -> None:
    import dask

    tls = "distributed.comm.tls"
    client = {f"{tls}.client.{what}": ours[what] for what in ("cert", "key")}
    with dask.config.set({f"{tls}.ca-file": ours["ca"], **client}):
        assert len(survey(execution(scheduler=guarded)).workers) == 1


def test_the_wrong_certificate_is_refused_in_one_line(
    guarded: str,
    authority: Callable[[str], dict[str, str]],
    ours: dict[str, str],
    execution: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 2)
    theirs = authority("theirs")
    for wrong in (theirs, {**theirs, "ca": ours["ca"]}):
        with pytest.raises(EnvironmentFaultError, match="check the address and the cert") as told:
            survey(execution(scheduler=guarded, tls=wrong))
        assert "\n" not in str(told.value)


def test_an_encrypted_scheduler_asks_for_certificates(execution: Any) -> None:
    with pytest.raises(EnvironmentFaultError, match=r"tls://127.0.0.1:9 wants certificates"):
        survey(execution(scheduler="tls://127.0.0.1:9"))


def test_certificates_are_not_silently_left_unused(ours: dict[str, str], execution: Any) -> None:
    with pytest.raises(EnvironmentFaultError, match=r"'tcp://127\.0\.0\.1:9' is not encrypted"):
        survey(execution(scheduler="tcp://127.0.0.1:9", tls=ours))


def test_certificates_that_are_not_there_are_missed(execution: Any, tmp_path: Path) -> None:
    missing = {what: str(tmp_path / what) for what in ("ca", "cert", "key")}
    with pytest.raises(EnvironmentFaultError, match=r"cannot use the certificates .*No such file"):
        survey(execution(scheduler="tls://127.0.0.1:9", tls=missing))


class TwoHosts:
    """Two network namespaces of this machine, joined by a cable of their own."""

    addresses = ("10.213.77.1", "10.213.77.2")

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.names = (f"gpucv-{tag}a", f"gpucv-{tag}b")
        self.ends = (f"gv{tag}a", f"gv{tag}b")
        self._programs: list[subprocess.Popen[bytes]] = []

    def build(self) -> None:
        for name in self.names:
            self._ip("netns", "add", name)
        one, other = self.ends
        self._ip("link", "add", one, "type", "veth", "peer", "name", other)
        for name, end, address in zip(self.names, self.ends, self.addresses, strict=True):
            self._ip("link", "set", end, "netns", name)
            self._ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            self._ip("-n", name, "link", "set", end, "up")
            self._ip("-n", name, "link", "set", "lo", "up")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def start(self, host: int, *command: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            program = subprocess.Popen(
                ["ip", "netns", "exec", self.names[host], *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
            )
        self._programs.append(program)
        return program

    def tear_down(self) -> None:
        for program in reversed(self._programs):
            program.terminate()
        for program in self._programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(10)
            program.kill()
            program.wait(10)
        for name in self.names:  # each takes its end of the cable with it
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        for end in self.ends:  # where it was never laid
            subprocess.run(["ip", "link", "del", end], check=False, capture_output=True)


@pytest.fixture
def two_hosts() -> Iterator[TwoHosts]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the ip command")
    hosts = TwoHosts()
    try:
        try:
            hosts.build()
        except subprocess.CalledProcessError as refused:
            pytest.skip(f"no network namespaces here: {refused.stderr.decode().strip()}")
        yield hosts
    finally:
        hosts.tear_down()


def test_two_hosts_run_one_study_over_tls(
    two_hosts: TwoHosts, ours: dict[str, str], few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    import gpucv

    few_steps.to_parquet(tmp_path / "steps.parquet")
    study = tmp_path / "study.toml"
    study.write_text(
        '[data]\nsteps = ["steps.parquet"]\naudit = "off"\n'
        '[[schemes]]\nname = "lomo"\nhold_out = "model"\n'
        '[[schemes]]\nname = "lowo"\nhold_out = "workload"\n'
        "[[predictors]]\nparams = {n_estimators = 5}\n"
    )
    file = tmp_path / "scheduler.json"
    tls = [f"--tls-{what}={ours[key]}" for what, key in (("cert", "cert"), ("key", "key"))]
    tls.append(f"--tls-ca-file={ours['ca']}")
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = [*dask, "--protocol=tls", f"--host={two_hosts.addresses[0]}", "--no-dashboard"]
    scheduler += [*tls, "--port=0", f"--scheduler-file={file}"]
    two_hosts.start(0, *scheduler, log=tmp_path / "scheduler.log")
    for host, address in enumerate(two_hosts.addresses):
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", f"--host={address}", *tls]
        worker += [f"--scheduler-file={file}", "--nthreads=1", f"--name=host{host}"]
        worker += ["--no-nanny", "--no-dashboard", f"--local-directory={tmp_path / f'w{host}'}"]
        two_hosts.start(host, *worker, "--death-timeout=60", log=tmp_path / f"worker{host}.log")
    registered = tmp_path / "scheduler.log"
    until = time.monotonic() + 60
    while registered.read_text().count("Register worker") < 2:
        assert time.monotonic() < until, registered.read_text()
        time.sleep(0.1)
    certificates = [f"--set=execution.tls.{what}={path}" for what, path in ours.items()]
    program = "from gpucv.cli.main import main; main()"
    run = [sys.executable, "-c", program, "run", str(study), "--out", "remote", "-q"]
    client = two_hosts.start(
        0, *run, f"--scheduler={file}", *certificates, log=tmp_path / "client.log"
    )
    assert client.wait(120) == 0, (tmp_path / "client.log").read_text()
    records = [json.loads(f.read_text()) for f in tmp_path.glob("remote/folds/*/result.json")]
    assert {record["worker"]["name"] for record in records} == {"host0", "host1"}
    gpucv.run(study, out=tmp_path / "here")
    one, other = (tmp_path / place / "predictions.parquet" for place in ("remote", "here"))
    assert one.read_bytes() == other.read_bytes()
