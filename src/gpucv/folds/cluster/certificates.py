"""Certificates that let one cluster's scheduler, workers and client know each other.

Dask asks nobody who he is unless it is given certificates, and whoever reaches a scheduler or a
worker without them runs code as its user. One self-signed certificate and its key serve every
part of a cluster, as authority, server and client at once: who holds the key is let in, nobody
else.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, StudyError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DAYS", "temporary_security", "write_certificate"]

DAYS = 30
"""How long a certificate is good for unless told otherwise: longer than a run, not for ever."""

_MOST_DAYS = 3650
_CLOCKS_DIFFER = timedelta(days=1)
"""A host whose clock is behind must not find the certificate not yet valid."""


def temporary_security() -> Any:
    """Return a `distributed.Security` with a key of its own, kept in memory.

    Dask writes it to a file that only its user can read for as long as OpenSSL loads it, and
    hands it to worker processes through a pipe.
    """
    from distributed import Security

    key, certificate = _pair(DAYS)
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        **{f"tls_{role}_cert": certificate for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )


def write_certificate(path: Path, days: int = DAYS) -> None:
    """Write a new key and its certificate into one PEM file that only its owner can read.

    Parameters
    ----------
    path : Path
        Must not exist; folders above it are made.
    days : int
        How long it is good for, 1 to 3650.

    Raises
    ------
    StudyError
        If `days` is out of range.
    EnvironmentFaultError
        If the file exists, or cannot be written.
    """
    if not 1 <= days <= _MOST_DAYS:
        msg = f"--days {days}: a certificate is good for 1 to {_MOST_DAYS} days"
        raise StudyError(msg)
    if os.path.lexists(path):
        msg = f"{path} exists, and a cluster may be using it; name another file or remove it"
        raise EnvironmentFaultError(msg)
    text = "".join(_pair(days))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made with its mode: a file that is closed to others later was open to them before.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            path.unlink(missing_ok=True)  # half a key is of no use, and in the way of the next
            raise
    except (OSError, ValueError) as error:
        msg = f"cannot write {path}: {getattr(error, 'strerror', None) or error}"
        raise EnvironmentFaultError(msg) from error


def _pair(days: int) -> tuple[str, str]:
    """Return a new private key and a certificate signed by it, both as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gpucv")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
