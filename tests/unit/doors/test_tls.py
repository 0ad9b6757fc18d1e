"""The listeners' TLS, handshake by handshake, without a network."""

from __future__ import annotations

import ssl
from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509

from router.doors.tls import Listening, Material
from router.errors import ConfigError
from tests.e2e.authority import Authority

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Room:
    def __init__(self, folder: Path, demand: str = "none", most: int = 10) -> None:
        self.authority = Authority(folder)
        self.counts: Counter[str] = Counter()
        self.demand = demand
        self.listening = Listening.of(self.material("server"), lambda code: self.counts.update([code]), most, 60)

    def material(self, label: str, authority: Authority | None = None) -> Material:
        certificate, key = self.authority.issue(label)
        client_ca = None if self.demand == "none" else (authority or self.authority).ca.read_bytes()
        return Material(((certificate.read_bytes(), key.read_bytes()),), client_ca, self.demand)

    def client(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, certificate: bool = False) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.authority.ca))
        made.minimum_version = made.maximum_version = version
        if certificate:
            made.load_cert_chain(*map(str, self.authority.issue("caller", x509.DNSName("caller.example"))))
        return made


def shake(listening: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """(server, client), after a byte that carried the tickets along."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = listening.wrap_bio(there, back, server_side=True)
    caller = client.wrap_bio(back, there, server_hostname="localhost", session=session)
    left = [caller, server]
    while left:
        for each in list(left):
            try:
                each.do_handshake()
                left.remove(each)
            except ssl.SSLWantReadError:
                pass
    server.write(b"x")
    assert caller.read(1) == b"x"
    return server, caller


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_until_the_files_change(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Afterwards everybody is looked at again."""
    room = Room(tmp_path)
    client = room.client(version)
    session = shake(room.listening, client)[1].session
    assert shake(room.listening, client, session)[1].session_reused
    room.listening.take(room.material("server"))
    assert not shake(room.listening, client, session)[1].session_reused


def test_no_ticket_stands_for_a_client_certificate(tmp_path: Path) -> None:
    """It would show the certificate to nobody for as long as it lasts."""
    room = Room(tmp_path, "optional")
    client = room.client(certificate=True)
    server, caller = shake(room.listening, client)
    assert server.getpeercert(binary_form=True)
    assert not (caller.session is not None and caller.session.has_ticket)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_authority_that_is_taken_away_is_believed_no_more(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Also by a caller that has a session of before."""
    room = Room(tmp_path, "required")
    client = room.client(version, certificate=True)
    session = shake(room.listening, client)[1].session
    (other := tmp_path / "other").mkdir()
    room.listening.take(room.material("server", Authority(other)))
    with pytest.raises(ssl.SSLError):
        shake(room.listening, client, session)
    assert room.counts == {"client_certificate_refused": 1}


def test_a_handshake_that_began_before_ends_as_it_began(tmp_path: Path) -> None:
    """With the certificate that it was shown."""
    room = Room(tmp_path)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = room.listening.wrap_bio(there, back, server_side=True)
    caller = room.client().wrap_bio(back, there, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        caller.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    room.listening.take(room.material("server"))
    caller.do_handshake()
    server.do_handshake()
    assert room.counts == {}


def test_handshakes_under_way_are_bounded(tmp_path: Path) -> None:
    """And those that end or are given up make room."""
    room = Room(tmp_path, most=2)
    held = [room.listening.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True) for _ in range(2)]
    with pytest.raises(ConnectionAbortedError):
        room.listening.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert room.counts == {"too_many_handshakes": 1}
    held.pop()
    shake(room.listening, room.client())
    shake(room.listening, room.client())


def test_what_is_no_tls_is_counted(tmp_path: Path) -> None:
    """Such as a plain request."""
    room = Room(tmp_path)
    there = ssl.MemoryBIO()
    server = room.listening.wrap_bio(there, ssl.MemoryBIO(), server_side=True)
    there.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    assert room.counts == {"tls_handshake_failed": 1}


def test_material_that_does_not_fit_leaves_what_served(tmp_path: Path) -> None:
    """One certificate's key is no other's."""
    room = Room(tmp_path)
    (one, _), (_, other) = room.authority.issue("one"), room.authority.issue("other")
    with pytest.raises(ConfigError):
        room.listening.take(Material(((one.read_bytes(), other.read_bytes()),)))
    shake(room.listening, room.client())
