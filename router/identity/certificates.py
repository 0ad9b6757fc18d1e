"""Callers' certificates: what one says, and who its holder is. TLS has verified it against the listener's authorities before."""

from __future__ import annotations

import ssl
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from cryptography import x509

from router.decision import Subject
from router.errors import IdentityError

NANO = 1_000_000_000
STATE = "client_certificate"  # where a connection's certificate is in the `state` of an ASGI scope
THUMBPRINT = "x5t#S256"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Alternative names as the certificate has them, DNS names in lower case; Unix time; `digest` is SHA-256 of the DER, in hex."""

    uris: tuple[str, ...]
    dns: tuple[str, ...]
    not_before_ns: int
    not_after_ns: int
    digest: str


@dataclass(frozen=True, slots=True)
class Holder:
    """`name` is exact, or a pattern of the configuration. `id` None: the name in the certificate."""

    kind: str
    name: str
    id: str | None
    type: str
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    tenant: str | None
    scopes: frozenset[str]


def peer_certificate(connection: ssl.SSLObject | None) -> PeerCertificate | None:
    """None without TLS, and where the caller showed none. Raises ValueError where it is no certificate that can be read."""
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    return read_certificate(der) if der else None


def certificate_of(scope: Mapping[str, Any]) -> PeerCertificate | None:
    """The caller's own, where the listener asks for it; never what a header field says."""
    state = scope.get("state")
    return state.get(STATE) if state else None


def read_certificate(der: bytes) -> PeerCertificate:
    """Raises ValueError."""
    certificate = x509.load_der_x509_certificate(der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return PeerCertificate(
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)),
        int(certificate.not_valid_before_utc.timestamp()) * NANO,
        int(certificate.not_valid_after_utc.timestamp()) * NANO,
        sha256(der).hexdigest(),
    )


def check_validity(certificate: PeerCertificate, now_ns: int) -> None:
    """Again for every request: TLS looked when the connection began, or the session that it resumed. Raises IdentityError."""
    if not certificate.not_before_ns <= now_ns <= certificate.not_after_ns:
        raise IdentityError("The client certificate is not valid now.", "client_certificate_expired")


def check_bound(confirmation: Any, certificate: PeerCertificate | None) -> None:
    """A token that says whose certificate it goes with is nobody else's (RFC 8705 3.1). Raises IdentityError."""
    if not isinstance(confirmation, Mapping):
        raise IdentityError("The token's claim 'cnf' is not an object.", "claims_invalid")
    if THUMBPRINT in confirmation and (certificate is None or not _is_of(confirmation[THUMBPRINT], certificate)):
        raise IdentityError("The token goes with a client certificate that was not shown.", "token_bound")


def _is_of(thumbprint: object, certificate: PeerCertificate) -> bool:
    expected = urlsafe_b64encode(bytes.fromhex(certificate.digest)).rstrip(b"=")
    return isinstance(thumbprint, str) and compare_digest(thumbprint.encode("utf-8", "replace"), expected)


class CertificateHolders:
    """Who the holder of a certificate is: exact names by table, then patterns, the longest first."""

    def __init__(self, holders: Iterable[Holder]) -> None:
        self._exact: dict[tuple[str, str], Holder] = {}
        self._below: list[Holder] = []
        for each in holders:
            if each.name.endswith("/*") or each.name.startswith("*."):
                self._below.append(each)
            else:
                self._exact[each.kind, each.name] = each
        self._below.sort(key=lambda each: -len(each.name))

    def subject(self, certificate: PeerCertificate, scope: str) -> Subject:
        """Raises IdentityError, also where it is not good for that scope."""
        subject, scopes = self.holder(certificate)
        if scope not in scopes:
            raise IdentityError(f"The client certificate is not good for the scope '{scope}'.", "scope_missing", 403)
        return subject

    def holder(self, certificate: PeerCertificate) -> tuple[Subject, frozenset[str]]:
        """With what it is good for. Raises IdentityError; also where the certificate's names make it two people's."""
        named = [("uri", name) for name in certificate.uris] + [("dns", name) for name in certificate.dns]
        found = [(holder, name) for kind, name in named if (holder := self._holder(kind, name)) is not None]
        if not found:
            raise IdentityError("The client certificate names nobody who is known here.", "client_certificate_unknown")
        subjects = {(holder.kind, holder.name, holder.id or name) for holder, name in found}
        if len(subjects) > 1:
            raise IdentityError("The client certificate names more than one subject.", "client_certificate_ambiguous")
        holder, name = found[0]
        claims = {"certificate": {"san": name, "sha256": certificate.digest}}
        subject = Subject(holder.id or name, holder.type, holder.roles, holder.groups, holder.tenant, claims, "certificate")
        return subject, holder.scopes

    def _holder(self, kind: str, name: str) -> Holder | None:
        exact = self._exact.get((kind, name))
        if exact is not None:
            return exact
        return next((each for each in self._below if each.kind == kind and below(each.name, name)), None)


def below(pattern: str, name: str) -> bool:
    """Whether `*.` or `/*` stands for what `name` has there: one label, or segments of which none is empty or a dot."""
    if pattern.startswith("*."):
        label, dot, rest = name.partition(".")
        return bool(label) and label != "*" and dot + rest == pattern[1:]
    stem = pattern[:-1]
    return name.startswith(stem) and _plain(name[len(stem) :].split("/"))


def _plain(segments: Sequence[str]) -> bool:
    return all(segment not in ("", ".", "..") and not set(segment) & set("%?#*") for segment in segments)
