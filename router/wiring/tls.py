"""A listener's TLS files: read, and held against each other, before anything uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from router.config import MutualTls, Tls
from router.doors.tls import Material, dns_names, make_context
from router.errors import ConfigError
from router.faults import Loc


@dataclass(frozen=True, slots=True)
class Certificates:
    """Of one listener, as its files have them. `expires` is when the first of them does that callers are shown."""

    material: Material
    expires: datetime

    @property
    def expired(self) -> bool:
        return self.expires <= datetime.now(UTC)


def tls_place(listener: str) -> Loc:
    """Where its settings stand in the configuration."""
    return ("audit", listener, "tls") if listener == "tiles" else (listener, "tls")


def files(settings: MutualTls) -> Iterator[tuple[Loc, str]]:
    """With their places below `tls`."""
    for index, pair in enumerate(settings.pairs):
        place: Loc = () if index == 0 else ("also", index - 1)
        yield from (((*place, "certificate"), pair.certificate), ((*place, "key"), pair.key))
    if settings.client_ca is not None:
        yield ("client_ca",), settings.client_ca


def read_certificates(root: Path, listener: str, settings: MutualTls) -> Certificates:
    """Raises ConfigError in one sentence."""
    try:
        read = [_pair(root, pair) for pair in settings.pairs]
        for pair in settings.also:
            if not dns_names(_chain(_content(root, pair.certificate), pair.certificate)[0]):
                raise ConfigError(f"the certificate in '{pair.certificate}' has no DNS name by which anybody could ask for it")
        pairs = tuple((certificate, key) for certificate, key, _ in read)
        material = Material(pairs, minimum=settings.minimum_version)
        if settings.client_ca is not None:
            authorities = _content(root, settings.client_ca)
            _chain(authorities, settings.client_ca)
            material = Material(pairs, authorities, settings.client_certificates, settings.minimum_version)
        make_context(material)
    except ConfigError as error:
        raise ConfigError(f"{'.'.join(map(str, tls_place(listener)))}: {error}") from None
    return Certificates(material, min(expires for _, _, expires in read))


def _pair(root: Path, pair: Tls) -> tuple[bytes, bytes, datetime]:
    certificate, key = _content(root, pair.certificate), _content(root, pair.key)
    chain = _chain(certificate, pair.certificate)
    try:
        secret = load_pem_private_key(key, None)
    except TypeError:
        raise ConfigError(f"the key in '{pair.key}' is encrypted; store it without a passphrase, readable by Lockgate alone") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"'{pair.key}' holds no private key in PEM that can be used") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if secret.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        raise ConfigError(f"the key in '{pair.key}' is not the one of the certificate in '{pair.certificate}'")
    if chain[0].not_valid_before_utc > datetime.now(UTC):
        raise ConfigError(f"the certificate in '{pair.certificate}' is not valid before {chain[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    return certificate, key, min(each.not_valid_after_utc for each in chain)


def _chain(content: bytes, file: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigError(f"'{file}' holds no certificate in PEM that can be read") from None


def _content(root: Path, file: str) -> bytes:
    try:
        return (root / file).read_bytes()
    except OSError as error:
        raise ConfigError(f"the file '{file}' cannot be read: {(error.strerror or str(error)).lower()}") from None
