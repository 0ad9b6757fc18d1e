"""Who the holder of a certificate is, by the names in it."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest

from router.decision import ANONYMOUS
from router.errors import IdentityError
from router.identity.authenticate import Authenticator
from router.identity.certificates import CertificateHolders, Holder, PeerCertificate, below
from tests.unit.identity.issuing import token, verifier
from tests.unit.identity.parts import NOW

GATEWAY = frozenset(("gateway",))


def holder(kind: str, name: str, who: str | None = None, *roles: str) -> Holder:
    return Holder(kind, name, who, "service", roles, (), None, GATEWAY)


def certificate(*uris: str, dns: tuple[str, ...] = (), valid: tuple[int, int] = (NOW - 1, NOW + 1)) -> PeerCertificate:
    return PeerCertificate(uris, dns, *valid, "ab" * 32)


HOLDERS = CertificateHolders(
    [
        holder("uri", "spiffe://a.example/*", None, "any"),
        holder("uri", "spiffe://a.example/shop/*", None, "shop"),
        holder("uri", "spiffe://a.example/shop/cart", "cart", "cart"),
        holder("dns", "*.svc.example", None, "host"),
        holder("dns", "batch.example", "batch", "batch"),
    ]
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (certificate("spiffe://a.example/shop/cart"), ("cart", ("cart",))),
        (certificate("spiffe://a.example/shop/till"), ("spiffe://a.example/shop/till", ("shop",))),
        (certificate("spiffe://a.example/else"), ("spiffe://a.example/else", ("any",))),
        (certificate(dns=("web.svc.example",)), ("web.svc.example", ("host",))),
        (certificate(dns=("unknown.example", "batch.example")), ("batch", ("batch",))),
    ],
)
def test_the_closest_entry_says_who_it_is(shown: PeerCertificate, expected: tuple[str, tuple[str, ...]]) -> None:
    """Exact names first, then the longest pattern; names that fit nothing do not count."""
    subject = HOLDERS.subject(shown, "gateway")
    assert (subject.id, subject.roles) == expected
    assert subject.authenticated_by == "certificate"


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (certificate(), "client_certificate_unknown"),
        (certificate("spiffe://b.example/shop/cart"), "client_certificate_unknown"),
        (certificate("batch.example"), "client_certificate_unknown"),
        (certificate(dns=("spiffe://a.example/x",)), "client_certificate_unknown"),
        (certificate("spiffe://a.example/shop/cart", "spiffe://a.example/shop/till"), "client_certificate_ambiguous"),
        (certificate("spiffe://a.example/shop/cart", dns=("batch.example",)), "client_certificate_ambiguous"),
        (certificate("spiffe://a.example/x", "spiffe://a.example/y"), "client_certificate_ambiguous"),
    ],
)
def test_nobody_and_two_people_are_refused(shown: PeerCertificate, code: str) -> None:
    """Also where one entry fits two names, since each name is a subject."""
    with pytest.raises(IdentityError) as refused:
        HOLDERS.subject(shown, "gateway")
    assert refused.value.code == code


@pytest.mark.parametrize(
    "name", ["spiffe://a.example/", "spiffe://a.example/../b", "spiffe://a.example/x//y", "spiffe://a.example/%2e%2e/b"]
)
def test_a_pattern_takes_plain_segments_only(name: str) -> None:
    """What another reader might take for a path elsewhere fits nothing."""
    assert not below("spiffe://a.example/*", name)


@pytest.mark.parametrize("name", [".svc.example", "a.b.svc.example", "svc.example", "*.svc.example", "websvc.example"])
def test_a_star_is_one_label(name: str) -> None:
    """Neither none, nor two, nor a certificate that is for a pattern itself."""
    assert not below("*.svc.example", name)


@pytest.mark.parametrize("valid", [(NOW - 2, NOW - 1), (NOW + 1, NOW + 2)])
def test_a_certificate_that_has_ended_on_an_open_connection_is_refused(valid: tuple[int, int]) -> None:
    """Whatever else the request shows, and where anonymous callers are let in."""
    door = Authenticator("gateway", anonymous=True, holders=HOLDERS)
    with pytest.raises(IdentityError) as refused:
        door.authenticate([], NOW, certificate("spiffe://a.example/shop/cart", valid=valid))
    assert refused.value.code == "client_certificate_expired"


def test_a_certificate_that_nobody_knows_is_not_anonymous() -> None:
    """Who shows one wants to be known by it; without one, or where certificates say nothing, it is as before."""
    unknown = certificate("spiffe://b.example/x")
    with pytest.raises(IdentityError):
        Authenticator("gateway", anonymous=True, holders=HOLDERS).authenticate([], NOW, unknown)
    assert Authenticator("gateway", anonymous=True, holders=HOLDERS).authenticate([], NOW) is ANONYMOUS
    assert Authenticator("gateway", anonymous=True).authenticate([], NOW, unknown) is ANONYMOUS


def thumbprint(digest: str) -> str:
    return urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()


def bound(**confirmation: Any) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + token(cnf=confirmation))]


def test_a_token_that_names_its_certificate_is_good_with_that_alone() -> None:
    """On the connection that has shown it; what else a confirmation may say is for others."""
    door, mine = Authenticator("gateway", tokens=verifier()), certificate("spiffe://a.example/x")
    named = bound(**{"x5t#S256": thumbprint(mine.digest)})
    assert door.authenticate(named, NOW, mine).id == "alice"
    assert door.authenticate(bound(jkt="x"), NOW).id == "alice"
    other = replace(mine, digest="cd" * 32)
    for shown in (None, other):
        with pytest.raises(IdentityError) as refused:
            door.authenticate(named, NOW, shown)
        assert (refused.value.code, refused.value.status) == ("token_bound", 401)


@pytest.mark.parametrize("confirmation", [{"x5t#S256": ""}, {"x5t#S256": 1}, {"x5t#S256": "\u00e9"}])
def test_a_binding_that_cannot_be_read_is_not_taken_for_none(confirmation: dict[str, Any]) -> None:
    """Nor is it met by a connection without a certificate."""
    for shown in (None, certificate("spiffe://a.example/x")):
        with pytest.raises(IdentityError):
            Authenticator("gateway", tokens=verifier()).authenticate(bound(**confirmation), NOW, shown)
