"""Certificates and their keys, as files."""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.folds.cluster.certificates import write_certificate

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_can_be_read_by_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_certificate(tmp_path / "new" / "tls.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "tls.pem").stat().st_mode) == 0o600


def test_one_file_serves_as_authority_certificate_and_key(tmp_path: Path) -> None:
    pem = tmp_path / "tls.pem"
    write_certificate(pem)
    context = ssl.create_default_context(cafile=pem)
    context.load_cert_chain(pem, pem)
    assert len(context.get_ca_certs()) == 1


def test_a_certificate_is_good_for_its_days_and_on_hosts_whose_clock_is_behind(
    tmp_path: Path,
) -> None:
    pem = tmp_path / "tls.pem"
    write_certificate(pem, days=3)
    (told,) = ssl.create_default_context(cafile=pem).get_ca_certs()
    begin, end = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told[when])), UTC)
        for when in ("notBefore", "notAfter")
    )
    assert begin < datetime.now(UTC) - timedelta(hours=23)
    assert end - begin == timedelta(days=4)


def test_no_two_keys_are_the_same(tmp_path: Path) -> None:
    files = [tmp_path / "one.pem", tmp_path / "other.pem"]
    for file in files:
        write_certificate(file)
    assert len({file.read_text() for file in files}) == 2


def test_a_disk_that_is_full_is_left_no_half_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, opened = tmp_path / "tls.pem", os.fdopen

    def full(descriptor: int, *given: Any, **options: Any) -> Any:
        file = opened(descriptor, *given, **options)
        return Full(file)

    class Full(contextlib.closing):  # type: ignore[type-arg]
        def __enter__(self) -> Full:
            return self

        def write(self, text: str) -> None:
            self.thing.write(text[:9])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        with pytest.raises(EnvironmentFaultError, match="No space left on device"):
            write_certificate(pem)
    assert not pem.exists()
    write_certificate(pem)


def test_a_key_in_use_is_not_overwritten_nor_a_link_followed(tmp_path: Path) -> None:
    there, link = tmp_path / "tls.pem", tmp_path / "link.pem"
    there.write_text("ours")
    link.symlink_to(tmp_path / "elsewhere.pem")
    for path in (there, link):
        with pytest.raises(EnvironmentFaultError, match=r"exists, and a cluster may be using it"):
            write_certificate(path)
    assert there.read_text() == "ours"
    assert not (tmp_path / "elsewhere.pem").exists()


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_days_out_of_range_are_refused(days: int, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=rf"--days {days}: .* 1 to 3650 days"):
        write_certificate(tmp_path / "tls.pem", days)
    assert not (tmp_path / "tls.pem").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFaultError, match=r"cannot write .*file/tls\.pem: "):
        write_certificate(tmp_path / "file" / "tls.pem")
