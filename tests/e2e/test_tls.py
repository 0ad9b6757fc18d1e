"""TLS and mutual TLS of the listeners, with real certificates and real processes."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from websockets.sync.client import connect

from tests.e2e.authority import DAY, HOUR, Authority, write
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.wire import Answer, ask, read
from tests.e2e.yard import load, save

CART, PAY, OTHER = (x509.UniformResourceIdentifier(f"spiffe://yard.example/{name}") for name in ("shop/cart", "pay", "elsewhere/x"))
WHO = [
    {"uri": "spiffe://yard.example/shop/*", "roles": ["employee"], "tenant": "shop"},
    {"uri": "spiffe://yard.example/pay", "id": "payments", "roles": ["employee"], "scopes": ["decide"]},
]


@dataclass(frozen=True)
class Place:
    lockgate: Lockgate
    authority: Authority
    folder: Path

    def context(self, certificate: tuple[Path, Path] | None = None, ca: Path | None = None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(ca or self.authority.ca))
        if certificate is not None:
            made.load_cert_chain(*map(str, certificate))
        return made

    def ask(
        self,
        path: str = "/items/1",
        who: str | None = "ann",
        certificate: tuple[Path, Path] | None = None,
        door: str = "gateway",
        **more: Any,
    ) -> Answer:
        headers = {} if who is None else {"authorization": f"Bearer {self.lockgate.keys[who]}"}
        body = json.dumps(more["body"]).encode() if "body" in more else None
        if body is not None:
            headers["content-type"] = "application/json"
        connection = http.client.HTTPSConnection("localhost", self.lockgate.ports[door], timeout=20, context=self.context(certificate))
        with closing(connection):
            connection.request("GET" if body is None else "POST", path, body, headers)
            return read(connection.getresponse())

    def shown(self, name: str = "localhost", door: str = "gateway") -> x509.Certificate:
        """What a new handshake gets."""
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.lockgate.ports[door]), timeout=20) as plain,
            anybody.wrap_socket(plain, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)

    def refusals(self, code: str) -> int:
        """As the ledger has them."""
        return sum(each.get("counts", each).get(code, 0) for each in self.lockgate.system("refused"))

    def readiness(self) -> Any:
        return ask(self.lockgate.ports["control"], "GET", "/readyz").json


def place(folder: Path, tls: dict[str, Any], *, start: bool = True, **changes: Any) -> Iterator[Place]:
    authority = Authority(folder)
    authority.issue("server")
    files = {"certificate": "server.pem", "key": "server.key"}
    settings: dict[str, Any] = {"gateway": {"tls": {**files, **tls}}, "decide": {"tls": {**files, **tls}}, **changes}
    with prepared(folder, "--workers", "2", **settings) as lockgate:
        if start:
            lockgate.start()
        yield Place(lockgate, authority, folder)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With client certificates for those who have one."""
    tls = {"client_ca": "authority.ca.pem", "client_certificates": "optional"}
    folder = tmp_path_factory.mktemp("tls")
    yield from place(folder, tls, identity={"certificates": WHO})


def test_requests_come_in_over_tls_and_upstreams_are_told_so(secured: Place) -> None:
    """`x-forwarded-proto` is https, and a plain request on that port gets no answer of HTTP."""
    answer = secured.ask("/echo/x")
    assert answer.status == 200, answer
    assert f"gateway  https://127.0.0.1:{secured.lockgate.gateway}" in secured.lockgate.process.said
    assert dict(answer.json["headers"])["x-forwarded-proto"] == "https"
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(secured.lockgate.gateway, "GET", "/echo/x")


def test_a_certificate_is_its_holders_credential(secured: Place) -> None:
    """By the URI in it, as the configuration says; and the record says how the caller was known."""
    certificate = secured.authority.issue("cart", CART)
    answer = secured.ask("/echo/x", None, certificate)
    assert answer.status == 200, answer
    told = dict(answer.json["headers"])
    assert (told["x-lockgate-subject"], told["x-lockgate-tenant"]) == ("spiffe://yard.example/shop/cart", "shop")
    assert secured.lockgate.story(answer.decision)[0]["subject"] == {"authenticated_by": "certificate", "tenant": "shop", "type": "service"}


def test_a_credential_comes_before_the_certificate(secured: Place) -> None:
    """A proxy with a certificate of its own passes its callers' keys on."""
    told = dict(secured.ask("/echo/x", "bob", secured.authority.issue("cart", CART)).json["headers"])
    assert told["x-lockgate-subject"] == "bob"


def test_a_certificate_that_names_nobody_opens_nothing(secured: Place) -> None:
    """Also one of the right authority: 401, not anonymous."""
    answer = secured.ask("/echo/x", None, secured.authority.issue("other", OTHER))
    assert (answer.status, answer.code) == (401, "client_certificate_unknown")


def test_a_certificate_that_names_two_is_nobodys(secured: Place) -> None:
    """No order between them would be safe to guess."""
    answer = secured.ask("/echo/x", None, secured.authority.issue("both", CART, PAY))
    assert (answer.status, answer.code) == (401, "client_certificate_ambiguous")


def test_a_certificate_is_good_for_its_scopes_alone(secured: Place) -> None:
    """The one for decisions opens the decide API, and not the gateway."""
    certificate = secured.authority.issue("pay", PAY)
    answer = secured.ask("/echo/x", None, certificate)
    assert (answer.status, answer.code) == (403, "scope_missing")
    decided = secured.ask("/v1/decide", None, certificate, "decide", body={"method": "GET", "path": "/items/1"})
    assert decided.status == 200, decided
    assert decided.json["subject"]["id"] == "payments"


def test_a_websocket_has_its_connections_certificate(secured: Place) -> None:
    """The handshake's subject is the certificate's."""
    context = secured.context(secured.authority.issue("cart", CART))
    with connect(f"wss://localhost:{secured.lockgate.gateway}/chat/1", ssl=context) as talk:
        told = {name.lower(): value for name, value in json.loads(talk.recv()).items()}
    assert told["x-lockgate-subject"] == "spiffe://yard.example/shop/cart"
    assert told["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("wrong", ["expired", "another authority", pytest.param("not yet valid", marks=pytest.mark.slow)])
def test_a_certificate_that_does_not_hold_gets_no_connection(secured: Place, wrong: str, tmp_path: Path) -> None:
    """Also where certificates are optional, and with a good key beside it; refused and counted."""
    authority = Authority(tmp_path, "stranger") if wrong == "another authority" else secured.authority
    valid = {"expired": (2 * HOUR, -HOUR), "not yet valid": (-HOUR, 2 * HOUR)}.get(wrong, (HOUR, HOUR))
    before = secured.refusals("client_certificate_refused")
    with pytest.raises((ssl.SSLError, OSError)):
        secured.ask("/echo/x", "ann", authority.issue("bad", CART, valid=valid))
    until(lambda: secured.refusals("client_certificate_refused") > before, "it was counted")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(secured: Place, version: ssl.TLSVersion) -> None:
    """By a client that would speak nothing newer; 1.2 and 1.3 are spoken, with forward secrecy."""
    old = secured.context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _handshake(secured, old)
    for newer, cipher in ((ssl.TLSVersion.TLSv1_2, "ECDHE-"), (ssl.TLSVersion.TLSv1_3, "TLS_")):
        context = secured.context()
        context.minimum_version = context.maximum_version = newer
        assert _handshake(secured, context).startswith(cipher)


def test_ciphers_without_forward_secrecy_or_aead_are_refused(secured: Place) -> None:
    """Of TLS 1.2."""
    context = secured.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES:AES:!AESGCM:!AESCCM:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _handshake(secured, context)


def test_a_caller_that_never_ends_its_handshake_is_cut_off(secured: Place) -> None:
    """One byte of it and then nothing, and nothing at all: both ends within the header's time, and nobody else waits for them."""
    slow = [socket.create_connection(("127.0.0.1", secured.lockgate.gateway), timeout=10) for _ in range(50)]
    try:
        for each in slow[:25]:
            each.sendall(b"\x16")
        assert secured.ask("/echo/x").status == 200
        assert all(each.recv(1) == b"" for each in slow)
    finally:
        for each in slow:
            each.close()


def _handshake(place: Place, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", place.lockgate.gateway), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        found = secured.cipher()
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    yield from place(tmp_path_factory.mktemp("changing"), {})


@pytest.fixture
def own(changing: Place) -> Iterator[Place]:
    """Whose files a test may change: each finds good ones, which are shown."""
    settings = changing.lockgate.yard.config.read_bytes()
    yield changing
    changing.lockgate.yard.config.write_bytes(settings)
    before = changing.shown().serial_number
    changing.authority.issue("server")
    until(lambda: all(changing.shown().serial_number != before for _ in range(6)), "every worker showed good ones")
    until(lambda: changing.readiness()["warnings"] == [], "nothing is told any more")


def test_certificates_are_exchanged_under_load_without_a_failed_request(own: Place) -> None:
    """New handshakes get the new one, the connections that stand go on, and none of thousands of requests fails."""
    serials, failed, done = [own.shown().serial_number], [], threading.Event()
    counts = [0] * 4

    def load(index: int, fresh: bool) -> None:
        connection: http.client.HTTPSConnection | None = None
        while not done.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPSConnection("localhost", own.lockgate.gateway, timeout=20, context=own.context())
                connection.request("GET", "/echo/x", headers={"authorization": f"Bearer {own.lockgate.keys['ann']}"})
                answer = read(connection.getresponse())
                if answer.status != 200:
                    failed.append(repr(answer))
                counts[index] += 1
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                connection = None
            if fresh and connection is not None:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    callers = [threading.Thread(target=load, args=(index, index % 2 == 0)) for index in range(4)]
    for each in callers:
        each.start()
    try:
        for _ in range(5):
            before = own.shown().serial_number
            own.authority.issue("server")
            until(lambda before=before: all(own.shown().serial_number != before for _ in range(6)), "every worker showed the new one")  # type: ignore[misc]
            serials.append(own.shown().serial_number)
    finally:
        done.set()
        for each in callers:
            each.join()
    assert failed == []
    assert all(count > 20 for count in counts), counts
    assert len(set(serials)) == 6


def long(wrong: str) -> Any:
    return pytest.param(wrong, marks=pytest.mark.slow)


@pytest.mark.parametrize("wrong", ["another key", long("garbage"), long("gone"), long("encrypted"), "expired"])
def test_a_bad_pair_is_refused_and_the_last_good_one_serves_on(own: Place, wrong: str) -> None:
    """With one sentence, a warning in readiness that fails nothing, also for a worker that starts meanwhile; and mended files are taken
    up."""
    before = own.shown().serial_number
    spoil(own, wrong)
    until(lambda: "certificate_not_taken_up: gateway" in own.readiness()["warnings"], "it was told")
    assert own.readiness()["ready"]
    problems = own.lockgate.control("GET", "/v1/config").json["certificate_problems"]
    assert problems["gateway"].startswith("gateway.tls: ")
    assert "\n" not in problems["gateway"]
    assert own.shown().serial_number == before
    victim = own.lockgate.workers()[0]
    __import__("os").kill(victim, signal.SIGKILL)
    until(lambda: len(own.lockgate.workers()) == 2 and victim not in own.lockgate.workers(), "another worker came")
    until(lambda: own.readiness()["ready"], "it serves")
    assert all(own.shown().serial_number == before for _ in range(6))
    own.authority.issue("server")
    until(lambda: all(own.shown().serial_number != before for _ in range(6)), "the mended files are shown")
    until(lambda: own.readiness()["warnings"] == [], "nothing is told any more")


def spoil(own: Place, wrong: str) -> None:
    server, key = own.folder / "server.pem", own.folder / "server.key"
    if wrong == "another key":
        write(key, own.authority.issue("another")[1].read_bytes())
    elif wrong == "garbage":
        write(server, b"-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    elif wrong == "gone":
        server.unlink()
    elif wrong == "encrypted":
        own.authority.issue("server", passphrase=b"secret")
    else:
        own.authority.issue("server", valid=(2 * DAY, -DAY))


def test_how_long_a_certificate_lasts_is_a_metric(own: Place) -> None:
    """In days, by listener; and readiness warns of one that ends soon."""

    def days() -> dict[str, float]:
        page = own.lockgate.control("GET", "/metrics").body.decode()
        lines = [line for line in page.splitlines() if line.startswith("lockgate_tls_expiry_days{")]
        return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}

    assert {name: round(value) for name, value in days().items()} == {"gateway": 90, "decide": 90}
    own.authority.issue("server", valid=(HOUR, 3 * DAY))
    until(lambda: round(days()["gateway"]) == 3, "the metric followed")
    assert sorted(own.readiness()["warnings"]) == ["certificate_expires_soon: decide", "certificate_expires_soon: gateway"]


def test_a_signal_makes_it_look_at_once(own: Place) -> None:
    """SIGHUP, as every server takes it; the process and its workers stay."""
    workers, before = own.lockgate.workers(), own.shown().serial_number
    own.authority.issue("server")
    own.lockgate.process.signal(signal.SIGHUP)
    until(lambda: own.shown().serial_number != before, "the new one is shown")
    assert own.lockgate.workers() == workers


def test_a_certificate_is_chosen_by_the_name_that_is_asked_for(tmp_path: Path) -> None:
    """Of several; a name that none has gets the first."""
    also = [{"certificate": "shop.pem", "key": "shop.key"}]
    for own in place(tmp_path, {"also": also}, start=False):
        own.authority.issue("shop", x509.DNSName("shop.example"), x509.DNSName("*.shop.example"))
        own.lockgate.start()

        def common(name: str, own: Place = own) -> Any:
            return own.shown(name).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value

        names = ("localhost", "shop.example", "a.shop.example", "a.b.shop.example", "elsewhere.example")
        assert [common(name) for name in names] == ["server", "shop", "shop", "server", "server"]


def test_a_required_certificate_is_required(tmp_path: Path) -> None:
    """No certificate, no connection, whatever key there is; the key still says who asks."""
    for own in place(tmp_path, {"client_ca": "authority.ca.pem", "client_certificates": "required", "minimum_version": 1.3}):
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            own.ask("/echo/x")
        certificate = own.authority.issue("cart", CART)
        assert own.ask("/echo/x", None, certificate).code == "credential_missing"
        assert own.ask("/echo/x", "ann", certificate).status == 200


def test_the_control_api_takes_up_another_certificate(tmp_path: Path) -> None:
    """As the other listeners do."""
    authority = Authority(tmp_path)
    authority.issue("server")
    with prepared(tmp_path, control={"tls": {"certificate": "server.pem", "key": "server.key"}}) as lockgate:
        lockgate.process.start()
        own = Place(lockgate, authority, tmp_path)
        until(_ready(own), "the control API served", 60)
        before = own.shown(door="control").serial_number
        authority.issue("server")
        until(lambda: own.shown(door="control").serial_number != before, "it shows the new one")


def _ready(own: Place) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return own.ask("/readyz", None, door="control").status == 200
        except (OSError, http.client.HTTPException):
            return False

    return asked


def test_a_start_with_a_key_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """And `check` says the same with the line."""
    for own in place(tmp_path, {}, start=False):
        spoil(own, "another key")
        checked = cli("check", "--config", str(own.lockgate.yard.config))
        assert checked.returncode == 1
        assert "gateway.tls: the key in 'server.key' is not the one of the certificate in 'server.pem'." in checked.stdout
        own.lockgate.process.start()
        assert own.lockgate.process.wait() != 0
        assert "the key in 'server.key' is not the one" in own.lockgate.process.said
        assert "Traceback" not in own.lockgate.process.said


def test_another_setting_of_tls_needs_a_restart(own: Place) -> None:
    """And says so."""
    settings = load(own.lockgate.yard.config)
    settings["gateway"]["tls"]["minimum_version"] = "1.3"
    save(own.lockgate.yard.config, settings)
    told = until(lambda: own.lockgate.control("GET", "/v1/config").json["last_reload_problem"], "it was told")
    assert "gateway.tls" in told
