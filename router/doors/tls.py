"""TLS of the listeners: what a handshake uses, and how another certificate takes its place while connections go on.

Every handshake asks for the context that serves then, and keeps it; a context is never changed. So nothing of the certificate, of the
authorities or of the session tickets of an earlier one is left in a new one.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from cryptography import x509

from router.errors import ConfigError
from router.identity.certificates import below

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secrecy and AEAD; those of 1.3 are all of that kind
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
DEMANDS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
HTTP1 = ("http/1.1",)
HANDSHAKE_FAILED, CLIENT_REFUSED, TOO_MANY = "tls_handshake_failed", "client_certificate_refused", "too_many_handshakes"


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """PEM: certificate chains with their keys, the first for callers that ask for no name that another has; authorities of callers."""

    pairs: tuple[tuple[bytes, bytes], ...]
    client_ca: bytes | None = None
    demand: str = "none"
    minimum: str = "1.2"

    @property
    def payload(self) -> list[Any]:
        return [self.pairs, self.client_ca, self.demand, self.minimum]

    @classmethod
    def from_payload(cls, payload: Sequence[Any]) -> Material:
        pairs, client_ca, demand, minimum = payload
        return cls(tuple((certificate, key) for certificate, key in pairs), client_ca, demand, minimum)


class Handshake(ssl.SSLObject):
    """Tells the listener's context how the handshake ended."""

    def do_handshake(self) -> None:
        serving = self.context
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except (ssl.SSLError, OSError) as error:
            if isinstance(serving, _Context):
                serving.ended(self, error)
            raise
        if isinstance(serving, _Context):
            serving.ended(self, None)


class _Context(ssl.SSLContext):
    """`ended` is told of every handshake's end."""

    ended: Callable[[ssl.SSLObject, Exception | None], None]


class Listening(ssl.SSLContext):
    """What the server is given. `count` is told the reason of every handshake that failed; at most `most` are under way, none of them for
    longer than `longest` seconds."""

    _serving: _Context
    _count: Callable[[str], None]
    _most: int
    _longest: float
    _protocols: Sequence[str]
    _under_way: WeakKeyDictionary[ssl.SSLObject, float]

    @classmethod
    def of(cls, material: Material, count: Callable[[str], None], most: int, longest: float, protocols: Sequence[str] = HTTP1) -> Listening:
        """`protocols`: what is spoken, by ALPN's names. Raises ConfigError."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._count, made._most, made._longest, made._under_way = count, most, longest, WeakKeyDictionary()
        made._protocols = protocols
        made.take(material)
        return made

    def take(self, material: Material) -> None:
        """For handshakes from here on. Raises ConfigError; what served serves on."""
        made = make_context(material, self._protocols)
        made.ended = self._ended
        self._serving = made

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        now = time.monotonic()
        if len(self._under_way) >= self._most:
            self._forget(now)
        if len(self._under_way) >= self._most:
            code = TOO_MANY
            self._count(code)
            raise ConnectionAbortedError("too many handshakes are under way")
        made = self._serving.wrap_bio(*args, **named)
        self._under_way[made] = now
        return made

    def _forget(self, now: float) -> None:
        """Those whose connection broke off are told of by nobody."""
        for each in [each for each, began in self._under_way.items() if now - began > self._longest]:
            del self._under_way[each]

    def _ended(self, connection: ssl.SSLObject, error: Exception | None) -> None:
        self._under_way.pop(connection, None)
        if error is not None:
            self._count(_refusal(error))


def _refusal(error: Exception) -> str:
    """OpenSSL says by its own words whether it was the caller's certificate."""
    lacking = "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(getattr(error, "reason", ""))
    return CLIENT_REFUSED if lacking or isinstance(error, ssl.SSLCertVerificationError) else HANDSHAKE_FAILED


def make_context(material: Material, protocols: Sequence[str] = HTTP1) -> _Context:
    """Raises ConfigError."""
    contexts = [_context(material, certificate, key, protocols) for certificate, key in material.pairs]
    named = _by_name(material, contexts)
    if len(contexts) > 1:
        contexts[0].sni_callback = _choosing(contexts[0], named)
    return contexts[0]


def _context(material: Material, certificate: bytes, key: bytes, protocols: Sequence[str]) -> _Context:
    made = _Context(ssl.PROTOCOL_TLS_SERVER)
    made.sslobject_class = Handshake
    made.minimum_version = VERSIONS[material.minimum]
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(list(protocols))
    try:
        with as_file(certificate) as chain, as_file(key) as secret:
            made.load_cert_chain(chain, secret, password=_no_password)
        if material.client_ca is not None:
            made.load_verify_locations(cadata=material.client_ca.decode("ascii"))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"TLS cannot use the certificate, its key or the authorities: {error}") from error
    made.verify_mode = DEMANDS[material.demand]
    if material.demand != "none":  # a session that is resumed shows its certificate to nobody again
        made.options |= ssl.OP_NO_TICKET
        made.num_tickets = 0
    return made


def _no_password() -> str:
    """Else OpenSSL asks at the terminal."""
    raise ValueError("the key is encrypted")


def _by_name(material: Material, contexts: Sequence[_Context]) -> Mapping[str, _Context]:
    """The first that has a name keeps it."""
    found: dict[str, _Context] = {}
    for (certificate, _), context in zip(material.pairs, contexts, strict=True):
        for name in dns_names(x509.load_pem_x509_certificates(certificate)[0]):
            found.setdefault(name, context)
    return found


def dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _choosing(first: _Context, named: Mapping[str, _Context]) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    patterns = [name for name in named if name.startswith("*.")]

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        wanted = (name or "").lower()
        found = named.get(wanted) or next((named[pattern] for pattern in patterns if below(pattern, wanted)), None)
        if found is not None and found is not first:
            found.ended = first.ended
            connection.context = found

    return choose


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """OpenSSL reads chains and keys from files alone. Nothing of it comes onto a disk where the system can keep files in memory."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(content)
            yield file.name
        return
    descriptor = os.memfd_create("lockgate")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
