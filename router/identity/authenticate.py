"""Who is calling: one credential, verified, becomes a Subject. Every failure is an IdentityError with a stable code."""

from __future__ import annotations

from collections.abc import Iterable

from router.decision import ANONYMOUS, Subject
from router.errors import IdentityError
from router.identity import api_keys
from router.identity.api_keys import PREFIX
from router.identity.certificates import CertificateHolders, PeerCertificate, check_bound, check_validity
from router.identity.credentials import credential
from router.identity.issuer_keys import KeysPendingError
from router.identity.tokens import TokenVerifier
from router.ports import ApiKeys


class Authenticator:
    """For one door: an API key must carry its `scope`, the holder of a certificate have it; a token's audience says the same. `keys`,
    `tokens` or `holders` None switches them off."""

    def __init__(
        self,
        scope: str,
        keys: ApiKeys | None = None,
        tokens: TokenVerifier | None = None,
        anonymous: bool = False,
        holders: CertificateHolders | None = None,
    ) -> None:
        self._scope = scope
        self._keys = keys
        self._tokens = tokens
        self._anonymous = anonymous
        self._holders = holders

    async def identify(self, headers: Iterable[tuple[bytes, bytes]], now_ns: int, certificate: PeerCertificate | None = None) -> Subject:
        """`authenticate`, after fetching the issuer's keys where the token names one that is not known yet."""
        try:
            return self.authenticate(headers, now_ns, certificate)
        except KeysPendingError as pending:
            await pending.fetch()
        return self.authenticate(headers, now_ns, certificate)

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]], now_ns: int, certificate: PeerCertificate | None = None) -> Subject:
        """Never waits. A credential in a header field comes before the connection's certificate, which may be a proxy's of many callers.
        Header names are lower-case; `now_ns` is Unix time. Raises IdentityError, StateError when the key store is down, and
        KeysPendingError (an IdentityError) when only a fetch can tell."""
        if certificate is not None:
            check_validity(certificate, now_ns)
        token = credential(headers)
        if token is None:
            if certificate is not None and self._holders is not None:
                return self._holders.subject(certificate, self._scope)
            if self._anonymous:
                return ANONYMOUS
            raise IdentityError("No credential was sent: use Authorization: Bearer or X-Api-Key.", "credential_missing")
        if token.startswith(PREFIX):
            return self._by_key(token, now_ns)
        if self._tokens is None or token.count(b".") != 2:
            raise IdentityError("The credential is neither an API key nor a token that is accepted here.", "credential_malformed")
        subject = self._tokens.verify(token, now_ns)
        if "cnf" in subject.claims:
            check_bound(subject.claims["cnf"], certificate)
        return subject

    def _by_key(self, token: bytes, now_ns: int) -> Subject:
        if self._keys is None:
            raise IdentityError("API keys are not accepted here.", "credential_unknown")
        key = api_keys.verify(self._keys, token, now_ns)
        if self._scope not in key.scopes:
            raise IdentityError(f"The API key lacks the scope '{self._scope}'.", "scope_missing", 403)
        return key.subject
