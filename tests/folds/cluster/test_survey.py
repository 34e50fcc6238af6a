"""What a running cluster's workers have, and which clusters are refused."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.folds.cluster import connection, survey
from gpucv.folds.cluster.skew import skew_between
from gpucv.folds.resources import survey as survey_of
from gpucv.machine import cpu_count, package_versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.study import ExecutionSpec

    Execution = Callable[..., ExecutionSpec]


@pytest.fixture
def execution(loaded: Any) -> Execution:
    return lambda **settings: loaded(execution=settings).study.execution


def test_every_worker_says_what_it_has(
    start_cluster: Any, preloads: Any, execution: Execution
) -> None:
    with start_cluster(preloads.plain, preloads.gpu, nthreads=3) as cluster:
        found = survey_of(execution(scheduler=cluster.scheduler_address, device="cpu"))
        assert found.scheduler == cluster.scheduler_address
    workers = {worker.name: worker for worker in found.workers}
    assert sorted(workers) == ["w0", "w1"]
    assert all(worker.slots == 3 for worker in workers.values())
    assert all(worker.cores == cpu_count() for worker in workers.values())
    assert all(0 < worker.free_bytes <= worker.memory_bytes for worker in found.workers)
    assert all(worker.disk_bytes > 0 for worker in found.workers)
    assert [gpu.name for gpu in found.gpus] == ["Imaginary"]
    assert workers["w0"].gpus == ()
    assert workers["w0"].versions == package_versions()


def test_without_a_scheduler_it_is_this_machine(execution: Execution) -> None:
    found = survey_of(execution())
    assert found.scheduler == ""
    assert [worker.name for worker in found.workers] == [""]


@pytest.mark.fault(13)
def test_a_worker_with_another_library_is_refused_by_name(
    start_cluster: Any, preloads: Any, execution: Execution
) -> None:
    other = preloads.with_version("numpy", "1.0.1")
    with (
        start_cluster(preloads.plain, other) as cluster,
        pytest.raises(EnvironmentFaultError) as refused,
    ):
        survey_of(execution(scheduler=cluster.scheduler_address))
    told, mine = str(refused.value), package_versions()["numpy"]
    assert f"(numpy {mine} here, 1.0.1 on w1); install the same everywhere" in told
    assert "\n" not in told  # a terminal shows errors in one line


def test_a_worker_without_gpucv_is_told_what_it_lacks(
    start_cluster: Any, preloads: Any, execution: Execution
) -> None:
    with (
        start_cluster(preloads.without_gpucv) as cluster,
        pytest.raises(EnvironmentFaultError, match=r"worker 'w0' cannot load gpucv .*install"),
    ):
        survey_of(execution(scheduler=cluster.scheduler_address))


def test_a_scheduler_nobody_joins_is_not_waited_for_without_end(
    start_cluster: Any,
    execution: Execution,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "gpucv.folds")
    monkeypatch.setattr(survey, "FIRST_WORKER_SECONDS", 0.3)
    with (
        start_cluster() as cluster,
        pytest.raises(EnvironmentFaultError, match=r"no worker has joined .* 0.3 s; start"),
    ):
        survey_of(execution(scheduler=cluster.scheduler_address))
    told = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert told == ["no worker has joined the scheduler yet: waiting up to 0.3 s for one"]


def test_a_scheduler_file_stands_for_its_address_and_is_told_of_where_others_read_it(
    start_cluster: Any,
    preloads: Any,
    execution: Execution,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "scheduler.json"
    with start_cluster(preloads.plain) as cluster:
        file.write_text(f'{{"address": "{cluster.scheduler_address}"}}')
        file.chmod(0o600)
        assert survey_of(execution(scheduler=str(file))).workers
        assert [each for each in caplog.records if each.name == "gpucv.folds"] == []
        file.chmod(0o644)
        found = survey_of(execution(scheduler=str(file)))
    assert found.scheduler == cluster.scheduler_address
    (told,) = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert told.startswith(f"other users can read {file}")
    assert "chmod 600" in told


@pytest.mark.parametrize("content", ["", "[1]", '{"id": "Scheduler-1"}'])
def test_a_file_that_is_no_scheduler_file_is_named(
    content: str, execution: Execution, tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    with pytest.raises(EnvironmentFaultError, match=r"scheduler\.json is no Dask scheduler file"):
        survey_of(execution(scheduler=str(file)))


def test_a_scheduler_file_that_is_not_there_is_missed(execution: Execution, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFaultError, match=r"cannot read the scheduler file .*No such"):
        survey_of(execution(scheduler=str(tmp_path / "none.json")))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1"])
def test_a_scheduler_that_does_not_answer_is_a_fault_of_the_machine(
    address: str, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(EnvironmentFaultError) as told:
        survey_of(execution(scheduler=address))
    assert f"no Dask scheduler answers at '{address}': " in str(told.value)
    assert "object at 0x" not in str(told.value)  # Dask names its connector


def test_tracebacks_of_a_client_that_loses_its_scheduler_are_not_shown(
    start_cluster: Any, preloads: Any, execution: Execution
) -> None:
    """They come from threads of its own, now and then."""
    shown, log = logging.StreamHandler(io.StringIO()), logging.getLogger("distributed")
    log.addHandler(shown)
    try:
        with start_cluster(preloads.plain) as cluster:
            shown.setLevel(logging.NOTSET)  # the cluster of this test is quiet itself
            with connection.connected(execution(scheduler=cluster.scheduler_address)):
                log.error("Failed to reconnect to scheduler")
            log.error("of the next")
        told = shown.stream.getvalue()
        assert "Failed to reconnect" not in told
        assert "of the next" in told
    finally:
        log.removeHandler(shown)


@pytest.mark.parametrize(
    ("greeting", "match"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Dask scheduler; name .*8786"),
        (b"", "no Dask scheduler answers at .*: no answer within 0.5 s"),
    ],
    ids=["a dashboard", "silence"],
)
def test_another_program_at_the_address_is_not_taken_for_a_scheduler(
    greeting: bytes, match: str, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.5)
    ended = threading.Event()

    def answer(listener: socket.socket) -> None:
        other, _ = listener.accept()
        with other:
            other.recv(16)
            other.sendall(greeting)
            ended.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        try:
            with pytest.raises(EnvironmentFaultError, match=match):
                survey_of(execution(scheduler=f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
        finally:
            ended.set()
            server.join()


def test_an_exchange_that_cannot_be_opened_is_refused_at_once(execution: Execution) -> None:
    with pytest.raises(StudyError, match=r"execution.exchange 'nonsense://x'"):
        survey_of(execution(exchange="nonsense://x"))


class TestSkew:
    here: dict[str, str] = {  # noqa: RUF012
        "python": "3.11.7",
        "gpucv": "1",
        "numpy": "2.1",
        "scipy": "1",
        "scikit-learn": "1",
        "optuna": "4",
        "xgboost-cpu": "3.2.0",
    }
    on_gpu = {name: at for name, at in here.items() if name != "xgboost-cpu"} | {
        "xgboost-cu13": "3.2.0",
        "cudf-cu13": "26.10.0",
    }

    def test_the_same_is_no_skew_whatever_else_is_installed(self) -> None:
        there = self.here | {"pandas": "9", "python": "3.11.2", "cudf-cu12": "26.8"}
        assert skew_between(self.here, {"a": there}, "cpu") == ""

    @pytest.mark.parametrize("package", ["gpucv", "numpy", "scipy", "scikit-learn", "optuna"])
    def test_what_decides_results_must_be_the_same(self, package: str) -> None:
        there = {name: at for name, at in self.here.items() if name != package}
        told = skew_between(self.here, {"a": there}, "cpu")
        assert told == f"{package} {self.here[package]} here, missing on a"

    def test_of_workers_that_are_alike_the_first_is_named(self) -> None:
        other = self.here | {"python": "3.12.1"}
        workers = {"a": other, "b": other, "c": self.here, "d": other | {"numpy": "2.2"}}
        told = skew_between(self.here, workers, "cpu")
        assert told == "python 3.11 here, 3.12 on a and 2 more; numpy 2.1 here, 2.2 on d"

    def test_on_a_cpu_another_wheel_of_xgboost_counts(self) -> None:
        told = skew_between(self.here, {"a": self.on_gpu}, "cpu")
        assert told == "XGBoost wheel xgboost-cpu here, xgboost-cu13 on a"

    def test_on_gpus_this_process_may_lack_what_only_a_gpu_needs(self) -> None:
        assert skew_between(self.here, {"a": self.on_gpu, "b": self.on_gpu}, "cuda") == ""

    def test_on_gpus_the_workers_frames_and_versions_count(self) -> None:
        older = self.on_gpu | {"cudf-cu13": "26.8.0"}
        told = skew_between(self.here, {"a": self.on_gpu, "b": older}, "cuda")
        assert told == "cudf cudf-cu13 26.10.0 on a, cudf-cu13 26.8.0 on b"
        older = self.on_gpu | {"xgboost-cu13": "3.1.0"}
        assert "XGBoost" in skew_between(self.here, {"a": older}, "cuda")


def test_a_study_names_certificates_on_the_command_line(tmp_path: Path) -> None:
    from gpucv.study import study_from_dict

    given = [f"execution.tls.{name}={tmp_path / name}" for name in ("ca", "cert", "key")]
    study = study_from_dict({}, base=tmp_path, overrides=tuple(given))
    assert study.study.execution.tls.key == os.fspath(tmp_path / "key")
