"""A certificate authority of a test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Authority:
    """Writes PEM files into a folder. `ca` is the authority's own certificate."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.ca = folder / f"{name}.ca.pem"
        self.ca.write_bytes(self._certificate(self._name, self._key, None, (DAY, 365 * DAY)))

    def issue(
        self, label: str, *names: x509.GeneralName, valid: tuple[timedelta, timedelta] = (HOUR, 90 * DAY), passphrase: bytes | None = None
    ) -> tuple[Path, Path]:
        """(certificate, key). `valid`: since and for how long from now; below zero is the past."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, label)])
        certificate, secret = self._folder / f"{label}.pem", self._folder / f"{label}.key"
        how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        write(secret, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
        write(certificate, self._certificate(subject, key, names or LOCAL, valid))
        return certificate, secret

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...] | None,
        valid: tuple[timedelta, timedelta],
    ) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - valid[0]).not_valid_after(now + valid[1])
        builder = builder.add_extension(x509.BasicConstraints(names is None, None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        if names is None:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def write(path: Path, content: bytes) -> None:
    """In one step, as whoever renews certificates does."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
