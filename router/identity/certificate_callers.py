"""Who calls the control API, or reads tiles, by the connection's certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.decision import Subject
from router.identity.certificates import CertificateHolders, PeerCertificate, check_validity
from router.ports import Clock

PREFIX = "certificate:"
SHOWN = 32  # hex digits of the certificate's digest, by which records name it


@dataclass(frozen=True, slots=True)
class CertificateCaller:
    """`key_id` names the credential in records."""

    subject: Subject
    scopes: frozenset[str]
    key_id: str


class CertificateCallers:
    """`holders` gives those of the configuration in force; None where certificates say nothing of who somebody is."""

    def __init__(self, holders: Callable[[], CertificateHolders | None], clock: Clock) -> None:
        self._holders = holders
        self._clock = clock

    def caller(self, certificate: PeerCertificate | None, *, alone: bool) -> CertificateCaller | None:
        """`alone`: nothing else says who asks. None where the certificate does not say it either. It has to be valid in any case: TLS
        looked when the connection began. Raises IdentityError."""
        if certificate is None:
            return None
        check_validity(certificate, self._clock.now_ns())
        holders = self._holders() if alone else None
        if holders is None:
            return None
        subject, scopes = holders.holder(certificate)
        return CertificateCaller(subject, scopes, PREFIX + certificate.digest[:SHOWN])
