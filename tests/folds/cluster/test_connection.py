"""What is told of a scheduler that others could reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpucv.folds.cluster.certificates import write_certificate
from gpucv.folds.cluster.connection import exposures
from gpucv.study import ExecutionSpec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("host", ["10.0.0.7", "head.cluster", "[2001:db8::1]", "0.0.0.0"])
@pytest.mark.parametrize("scheme", ["tcp://", ""])
def test_a_scheduler_without_tls_beyond_this_machine_is_told_of_with_its_mend(
    scheme: str, host: str
) -> None:
    (told,) = exposures(ExecutionSpec(scheduler=f"{scheme}{host}:8786"))
    assert told == (
        f"the scheduler at {scheme}{host}:8786 is not encrypted: whoever reaches it, or its "
        "workers, runs code as their user; start them with a certificate (gpucv certificate FILE)"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "[::1]"])
def test_nothing_is_told_of_one_on_this_machine(host: str) -> None:
    assert exposures(ExecutionSpec(scheduler=f"tcp://{host}:8786")) == []


@pytest.mark.parametrize("scheduler", ["tcp://[::1:8786", "[::1:8786"])
def test_an_address_that_is_none_is_left_to_whoever_calls_it(scheduler: str) -> None:
    (told,) = exposures(ExecutionSpec(scheduler=scheduler))
    assert told.startswith(f"the scheduler at {scheduler} is not encrypted")


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_a_scheduler_file_that_others_can_read_is_told_of(
    mode: int, told: int, tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": "tcp://127.0.0.1:8786"}')
    file.chmod(mode)
    found = exposures(ExecutionSpec(scheduler=str(file)))
    assert len(found) == told
    assert all(f"other users can read {file}" in each and "chmod 600" in each for each in found)


def test_a_file_of_an_open_scheduler_elsewhere_is_told_of_twice(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": "tcp://10.0.0.7:8786"}')
    file.chmod(0o644)
    assert len(exposures(ExecutionSpec(scheduler=str(file)))) == 2


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 1), (0o644, 1)])
@pytest.mark.parametrize("how", ["study", "dask"])
def test_a_key_that_others_can_read_is_told_of_wherever_it_is_named(
    how: str, mode: int, told: int, tmp_path: Path
) -> None:
    import dask
    import distributed  # noqa: F401  (or its defaults would go with what is set here)

    pem = tmp_path / "tls.pem"
    write_certificate(pem)
    pem.chmod(mode)
    parts = dict.fromkeys(("ca", "cert", "key"), str(pem))
    tls = "distributed.comm.tls"
    dasks = {f"{tls}.ca-file": str(pem), f"{tls}.client.cert": str(pem)}
    file = tmp_path / "scheduler.json"  # says where, which is no secret behind TLS
    file.write_text('{"address": "tls://10.0.0.7:8786"}')
    file.chmod(0o644)
    given = {"scheduler": str(file), **({"tls": parts} if how == "study" else {})}
    with dask.config.set(dasks if how == "dask" else {}):
        found = exposures(ExecutionSpec.model_validate(given))
    assert len(found) == told
    assert all(f"chmod 600 {pem}" in each for each in found)
