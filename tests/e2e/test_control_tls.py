"""Client certificates where Lockgate is operated: the control API and the tiles, with real handshakes, by all that speak to them."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from examples.halden.demo.company import free_ports
from lockgate.client import Client, ReviewUnavailable
from tests.e2e.authority import HOUR, Authority, write
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.wire import Answer, ask, read

NAMES = {name: x509.UniformResourceIdentifier(f"spiffe://yard.example/{name}") for name in ("ops/deploy", "auditing", "shop/cart", "else")}
WHO = [
    {"uri": "spiffe://yard.example/ops/*", "roles": ["operator"], "scopes": ["control"]},
    {"uri": "spiffe://yard.example/auditing", "id": "auditing", "scopes": ["control:audit.read", "control:evidence.write"]},
    {"uri": "spiffe://yard.example/shop/cart", "roles": ["admin"], "scopes": ["gateway"]},
]
Pair = tuple[Path, Path]
REFUSED = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)


@dataclass(frozen=True)
class Office:
    """`tiles`, `probes` and `events` are ports."""

    lockgate: Lockgate
    authority: Authority
    folder: Path
    tiles: int
    probes: int
    events: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.lockgate.ports['control']}"

    def shown(self, name: str) -> Pair:
        return self.authority.issue(name.replace("/", "-"), NAMES[name])

    def ask(self, path: str, pair: Pair | None = None, *, method: str = "GET", port: int | None = None, **fields: str) -> Answer:
        context = ssl.create_default_context(cafile=str(self.folder / "server.ca.pem"))
        if pair is not None:
            context.load_cert_chain(*map(str, pair))
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection = http.client.HTTPSConnection("localhost", port or self.lockgate.ports["control"], timeout=20, context=context)
        with closing(connection):
            connection.request(method, path, None, headers)
            return read(connection.getresponse())

    def key(self, who: str = "root") -> str:
        return f"Bearer {self.lockgate.keys[who]}"

    def refused(self, code: str) -> int:
        return sum(each.get("counts", each).get(code, 0) for each in self.lockgate.system("refused"))


@contextmanager
def office(folder: Path, demand: str) -> Iterator[Office]:
    """The listeners' own certificate is another authority's than the callers'."""
    authority, own = Authority(folder), Authority(folder, "server")
    own.issue("server")
    tiles, probes, events = free_ports(3)
    tls = {"certificate": "server.pem", "key": "server.key", "client_ca": "authority.ca.pem", "client_certificates": demand}
    changes: dict[str, Any] = {
        "control": {"tls": tls, "probes": f"127.0.0.1:{probes}"},
        "audit": {"tiles": {"listen": f"127.0.0.1:{tiles}", "tls": tls}},
        "identity": {"certificates": WHO},
        "events": {"listen": f"127.0.0.1:{events}", "tls": tls, "sources": {"own": {}}},
    }
    with prepared(folder, **changes) as lockgate:
        lockgate.process.start()
        until(lambda: _ready(lockgate, probes), "it was ready", 60)
        yield Office(lockgate, authority, folder, tiles, probes, events)


def _ready(lockgate: Lockgate, probes: int) -> bool:
    assert lockgate.process.ended is None, lockgate.process.said
    try:
        return ask(probes, "GET", "/readyz").status == 200
    except (OSError, http.client.HTTPException):
        return False


@pytest.fixture(scope="module")
def required(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("office"), "required") as opened:
        yield opened


@pytest.mark.parametrize("wrong", ["none", "another authority", "expired"])
def test_who_shows_no_good_certificate_gets_no_connection(required: Office, wrong: str, tmp_path: Path) -> None:
    """Whatever key they have, on the control API as on the tiles."""
    pair = None
    if wrong == "expired":
        pair = required.authority.issue("old", NAMES["ops/deploy"], valid=(2 * HOUR, -HOUR))
    elif wrong == "another authority":
        pair = Authority(tmp_path, "stranger").issue("stranger", NAMES["ops/deploy"])
    for port in (None, required.tiles):
        with pytest.raises(REFUSED):
            required.ask("/v1/identity", pair, port=port, authorization=required.key())


def test_a_certificate_opens_the_connection_and_a_key_says_who_asks(required: Office) -> None:
    """As on the other listeners: a credential in a header field comes first."""
    answer = required.ask("/v1/identity", required.shown("ops/deploy"), authorization=required.key())
    assert (answer.status, answer.json["subject"]) == (200, "root")


def test_a_certificate_is_a_callers_credential_and_policy_judges_it(required: Office) -> None:
    """It has what its roles give and no more, and what it does is on record under its name."""
    pair = required.shown("ops/deploy")
    who = required.ask("/v1/identity", pair)
    assert who.status == 200, who
    assert (who.json["subject"], who.json["roles"], who.json["session"]) == ("spiffe://yard.example/ops/deploy", ["operator"], None)
    assert required.ask("/v1/config", pair).status == 200
    refused = required.ask("/v1/keys", pair)
    assert (refused.status, refused.code) == (403, "permission_missing")
    assert refused.json["detail"] == "The certificate lacks the permission 'keys.read'."
    assert required.ask("/v1/config/reload", pair, method="POST").status == 200
    done = required.lockgate.system("control_action")[-1]
    digest = x509.load_pem_x509_certificate(pair[0].read_bytes()).fingerprint(SHA256()).hex()
    assert (done["permission"], done["by_key"]) == ("config.reload", f"certificate:{digest[:32]}")


@pytest.mark.parametrize(
    ("name", "status", "code"), [("else", 401, "client_certificate_unknown"), ("shop/cart", 403, "permission_missing")]
)
def test_a_certificate_without_a_place_here_opens_nothing(required: Office, name: str, status: int, code: str) -> None:
    """One that no entry fits; and one for the gateway, where `admin` is another's word."""
    answer = required.ask("/v1/config", required.shown(name))
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize("field", [{"sec_fetch_site": "same-origin"}, {"origin": "https://localhost"}, {"cookie": "a=b"}])
def test_in_a_browser_a_certificate_says_nothing_of_who_asks(required: Office, field: dict[str, str]) -> None:
    """It is shown for every page that asks it to: a session has to say who it is."""
    fields = {name: value.replace("localhost", f"localhost:{required.lockgate.ports['control']}") for name, value in field.items()}
    pair = required.shown("ops/deploy")
    for method in ("GET", "POST"):
        answer = required.ask("/v1/config" + ("/reload" if method == "POST" else ""), pair, method=method, **fields)
        assert (answer.status, answer.code) == (401, "credential_missing")


def test_tiles_are_read_by_who_may_read_the_trail(required: Office) -> None:
    """By a certificate as by a key, and the reader is on record."""
    until(lambda: required.ask("/checkpoint", required.shown("auditing"), port=required.tiles).status == 200, "there was a checkpoint")
    assert required.ask("/checkpoint", required.shown("ops/deploy"), port=required.tiles).code == "permission_missing"
    assert [each["what"] for each in required.lockgate.system("audit_read")] == ["tiles"]


def test_events_come_in_over_tls(required: Office) -> None:
    """From who shows a certificate of the right authority, and from nobody else; what they send is verified as ever."""
    with pytest.raises(REFUSED):
        required.ask("/events/own", method="POST", port=required.events, authorization=required.key())
    assert required.ask("/events/own", required.shown("else"), method="POST", port=required.events).status == 401


def test_who_watches_the_process_needs_no_certificate(required: Office) -> None:
    """Health and readiness on a port of their own, and nothing else there."""
    assert ask(required.probes, "GET", "/healthz").json == {"status": "ok"}
    assert ask(required.probes, "GET", "/readyz").json["ready"]
    for path in ("/v1/identity", "/v1/openapi.json", "/metrics", "/console/sign-in"):
        assert ask(required.probes, "GET", path, required.lockgate.keys["root"]).status == 404
    assert ask(required.probes, "POST", "/healthz").status == 405


def test_commands_show_a_certificate(required: Office) -> None:
    """By options and by the environment, with a key or as who they are; and say in one sentence what is missing."""
    certificate, key = map(str, required.shown("ops/deploy"))
    where = ("--url", required.url, "--ca", str(required.folder / "server.ca.pem"))
    shown = cli("config", "diff", *where, "--client-cert", certificate, "--client-key", key, "--json")
    assert (shown.returncode, json.loads(shown.stdout)["changes"]) == (0, []), shown.stderr
    environment = {"LOCKGATE_CONTROL_CA": where[3], "LOCKGATE_CLIENT_CERT": certificate, "LOCKGATE_CLIENT_KEY": key}
    listed = cli("review", "list", "--json", "--url", required.url, LOCKGATE_KEY=required.lockgate.keys["max"], **environment)
    assert (listed.returncode, listed.stdout.strip()) == (0, "[]"), listed.stderr
    without = cli("review", "list", *where, LOCKGATE_KEY=required.lockgate.keys["max"])
    assert without.returncode != 0
    assert "No Lockgate answers at" in without.stderr
    assert "it may want a client certificate (--client-cert)" in without.stderr
    mistrusted = cli("review", "list", "--url", required.url, "--client-cert", certificate, "--client-key", key)
    assert "certificate verify failed" in mistrusted.stderr
    assert not any("Traceback" in each.stderr for each in (shown, listed, without, mistrusted))


def test_services_show_a_certificate(required: Office) -> None:
    """The SDK reports evidence as who its certificate is, without a key."""
    places = {"control_url": required.url, "ca": required.folder / "server.ca.pem", "timeout": 10.0}
    with Client(required.url, certificate=required.shown("auditing"), **places) as client:
        receipt = client.report("0198c0de-0000-7000-8000-000000000001", source="urn:till", kind="paid", event_id="1")
    assert receipt.id == "1"
    with Client(required.url, **places) as stranger, pytest.raises(ReviewUnavailable):
        stranger.review("0198c0de-0000-7000-8000-000000000001")


def test_authorities_are_exchanged_while_it_serves(required: Office, tmp_path: Path) -> None:
    """On both listeners: new handshakes are held against the new ones, what was good before is refused, and all that is on record."""
    before, following = required.shown("ops/deploy"), Authority(tmp_path, "next")
    pair = following.issue("deploy", NAMES["ops/deploy"])
    assert _good(required, before, required.tiles)
    write(required.folder / "authority.ca.pem", following.ca.read_bytes())
    until(lambda: _good(required, pair, None) and _good(required, pair, required.tiles), "both took up the new ones")
    assert required.ask("/v1/identity", pair).json["subject"] == "spiffe://yard.example/ops/deploy"
    assert not _good(required, before, None)
    assert not _good(required, before, required.tiles)
    until(lambda: required.refused("client_certificate_refused") >= 2, "refused handshakes were recorded")


@pytest.mark.slow
def test_where_it_is_optional_others_come_in(tmp_path: Path) -> None:
    """With a key, and for what is public; a certificate that does not hold gets no connection all the same."""
    with office(tmp_path, "optional") as opened:
        assert opened.ask("/healthz").status == 200
        assert opened.ask("/v1/identity", authorization=opened.key()).json["subject"] == "root"
        assert opened.ask("/v1/identity").code == "credential_missing"
        assert opened.ask("/v1/identity", opened.shown("ops/deploy")).json["roles"] == ["operator"]
        assert not _good(opened, opened.authority.issue("old", NAMES["ops/deploy"], valid=(2 * HOUR, -HOUR)), None)


def _good(opened: Office, pair: Pair, port: int | None) -> bool:
    """Whether the connection comes about, whatever is answered."""
    try:
        return opened.ask("/", pair, port=port).status > 0
    except REFUSED:
        return False
