"""A vault that is slow, broken or hostile, and what then becomes of records and checkpoints: records go on, nothing false is published."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from adapters.vault_transit import VaultSigningKey
from router.audit.journal import Checkpointing, Journal
from router.audit.keys import signing
from router.audit.keys.files import proven
from router.audit.ledger import AuditLedger
from router.audit.tree.checkpoint import NoteSigner, note_checkpoint
from router.config.ledger_keys import VaultKey
from router.errors import AuditError
from tests.faults.test_upstream_tls import Authority
from tests.unit.audit.ledgers import entries

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TOKEN = "s.very-secret-token"
Answer = tuple[int, bytes]


def public(key: Ed25519PrivateKey = KEY, **more: object) -> Answer:
    one = {"public_key": b64encode(key.public_key().public_bytes_raw()).decode()}
    return 200, json.dumps({"data": {"type": "ed25519", "derived": False, "keys": {"1": one}, **more}}).encode()


def signature(message: bytes, key: Ed25519PrivateKey = KEY, mark: str = "vault:v1") -> Answer:
    return 200, json.dumps({"data": {"signature": f"{mark}:{b64encode(key.sign(message)).decode()}"}}).encode()


class BadVault(ThreadingHTTPServer):
    """Answers as `reading` and `signing` say; `signing` is given the message."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reading: Callable[[], Answer] = public
        self.signing: Callable[[bytes], Answer] = signature
        self.seen: list[str] = []
        self.limit = "20s"
        self.going = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def held(self, answer: Answer) -> Answer:
        """Given only once it may be, or when whoever waits for it must have gone."""
        self.going.wait(30)
        return answer

    def handle_error(self, *_: object) -> None:
        """Its caller has gone, as it should."""

    @property
    def config(self) -> VaultKey:
        return VaultKey(address=f"http://127.0.0.1:{self.server_port}", key="ledger", token=TOKEN, timeout=self.limit)

    def key(self) -> VaultSigningKey:
        return VaultSigningKey(self.config, lambda: TOKEN)


class _Handler(BaseHTTPRequestHandler):
    server: BadVault

    def do_GET(self) -> None:
        self._say(*self.server.reading())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._say(*self.server.signing(b64decode(asked["input"])))

    def _say(self, status: int, body: bytes) -> None:
        self.server.seen.append(self.path)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 307:
            self.send_header("location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def vault() -> Iterator[BadVault]:
    found = BadVault()
    yield found
    found.going.set()
    found.shutdown()
    found.server_close()


def sizes(folder: Path) -> list[int]:
    """Of the checkpoints that were published."""
    return [note_checkpoint(file.read_text()).size for file in sorted(folder.glob("notes/*"))]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((400, b"{}"), "audit_key_refused"),
        ((403, b'{"errors":["permission denied"]}'), "audit_key_refused"),
        ((404, b"{}"), "audit_key_refused"),
        ((307, b""), "audit_key_unreachable"),
        ((429, b"{}"), "audit_key_unreachable"),
        ((500, b"{}"), "audit_key_unreachable"),
        ((503, b'{"errors":["Vault is sealed"]}'), "audit_key_unreachable"),
        ((200, b""), "audit_key_unreachable"),
        ((200, b"null"), "audit_key_unreachable"),
        ((200, b'{"data":[]}'), "audit_key_unreachable"),
        ((200, b"\xff" * 100), "audit_key_unreachable"),
        ((200, b" " * (1 << 21)), "audit_key_unreachable"),
        (public(type="aes256-gcm96"), "audit_key_invalid"),
        (public(derived=True), "audit_key_invalid"),
        (public(keys={}), "audit_key_invalid"),
        (public(keys=None), "audit_key_invalid"),
        (public(keys={"1": 1442851412}), "audit_key_invalid"),
        (public(keys={"1": {"public_key": "!!"}}), "audit_key_unreachable"),
    ],
)
def test_a_vault_that_answers_badly_does_not_open(vault: BadVault, answer: Answer, code: str) -> None:
    """One sentence and a code for every kind, without the token; a redirect is not followed."""
    vault.reading = lambda: answer
    with pytest.raises(AuditError) as refused:
        vault.key()
    assert refused.value.code == code
    assert TOKEN not in str(refused.value)
    assert vault.seen == ["/v1/transit/keys/ledger"]


@pytest.mark.parametrize(
    ("signing_as", "code"),
    [
        (lambda message: signature(message, OTHER), "audit_signature_wrong"),
        (lambda message: signature(b"another text"), "audit_signature_wrong"),
        (lambda message: signature(message, mark="vault:v2"), "audit_key_unreachable"),
        (lambda message: (200, b'{"data":{"signature":"vault:v1:"}}'), "audit_signature_wrong"),
        (lambda message: (200, b'{"data":{"signature":7}}'), "audit_key_unreachable"),
        (lambda message: (200, b'{"data":{}}'), "audit_key_unreachable"),
        (lambda message: (403, b"{}"), "audit_key_refused"),
    ],
)
def test_a_key_that_does_not_sign_well_is_found_when_it_is_opened(
    vault: BadVault, signing_as: Callable[[bytes], Answer], code: str
) -> None:
    """By a signature on a text that is no checkpoint; and a note is not made either."""
    vault.signing = signing_as
    key = vault.key()
    with pytest.raises(AuditError) as refused:
        proven(key)
    assert refused.value.code == code
    with pytest.raises(AuditError) as unsigned:
        NoteSigner("ledger.test", key).sign("ledger.test\n0\nAAAA\n")
    assert unsigned.value.code == code


def test_a_slow_vault_is_left_within_the_time_out(vault: BadVault) -> None:
    """Who opens the ledger is told how long it was waited for, and so is who tries the key."""
    vault.limit = "1s"
    vault.signing = lambda message: vault.held(signature(message))
    key = vault.key()
    with pytest.raises(AuditError, match=r"gave no answer within 1 s"):
        proven(key)
    vault.reading = lambda: vault.held(public())
    with pytest.raises(AuditError, match=r"gave no answer within 1 s"):
        vault.key()


def test_nobody_there_is_said(vault: BadVault) -> None:
    """A refused connection and a certificate that nobody vouches for."""
    vault.shutdown()
    vault.server_close()
    with pytest.raises(AuditError, match="cannot be reached: connect") as refused:
        vault.key()
    assert refused.value.code == "audit_key_unreachable"


def test_authorities_that_are_no_pem_are_said(vault: BadVault, tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "ca.pem").write_text("x")
    with pytest.raises(AuditError, match=r"ca\.pem is not a PEM file of authorities"):
        VaultSigningKey(vault.config, lambda: TOKEN, tmp_path / "ca.pem")
    assert vault.seen == []


@pytest.mark.parametrize("believed", [True, False], ids=["its authority", "another"])
def test_only_a_vault_whose_certificate_is_believed_is_asked(vault: BadVault, tmp_path: Path, believed: bool) -> None:
    """By the configured authority and no other; the token is not sent before."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("vault", x509.IPAddress(ip_address("127.0.0.1")))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    vault.socket = context.wrap_socket(vault.socket, server_side=True)
    (tmp_path / "other").mkdir()
    ca = Path(authority.ca if believed else Authority(tmp_path / "other").ca)
    config = vault.config.model_copy(update={"address": f"https://127.0.0.1:{vault.server_port}"})
    if believed:
        assert proven(VaultSigningKey(config, lambda: TOKEN, ca)).public == KEY.public_key().public_bytes_raw()
        return
    with pytest.raises(AuditError, match="its certificate is not trusted"):
        VaultSigningKey(config, lambda: TOKEN, ca)
    assert vault.seen == []


@pytest.mark.parametrize("token", ["", "a\nb", "schlüssel"])
def test_a_token_that_is_none_is_not_sent(vault: BadVault, token: str) -> None:
    """It could break the request apart."""
    with pytest.raises(AuditError, match="its token is empty or not one line"):
        VaultSigningKey(vault.config, lambda: token)
    assert vault.seen == []


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.02)


async def opened(vault: BadVault, folder: Path, records: int = 1) -> AuditLedger:
    signer = NoteSigner("ledger.test", await asyncio.to_thread(vault.key))
    ledger = AuditLedger(Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(signer, folder / "notes", 3600, records)))
    await ledger.open()
    return ledger


async def test_records_never_wait_for_a_slow_vault(vault: BadVault, tmp_path: Path) -> None:
    """While a signature takes its time, records are committed; the checkpoint follows, and a later one covers what came meanwhile."""
    vault.signing = lambda message: vault.held(signature(message))
    ledger = await opened(vault, tmp_path)
    for entry in entries(12):
        await ledger.append(entry)
    assert sizes(tmp_path) == []
    vault.going.set()
    await ledger.close()
    assert sizes(tmp_path)[-1] == 12


async def test_a_wrong_signature_is_never_published(
    vault: BadVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Records go on, the log says why there is no checkpoint, and the next good signature covers everything."""
    monkeypatch.setattr(signing, "PAUSE_S", 0.05)
    vault.signing = lambda message: signature(message, OTHER)
    ledger = await opened(vault, tmp_path)
    for entry in entries(3):
        await ledger.append(entry)
    await eventually(lambda: caplog.text.count("does not verify") > 2)
    assert sizes(tmp_path) == []
    assert ledger.unsigned == 3
    vault.signing = signature
    await eventually(lambda: ledger.unsigned == 0)
    await ledger.close()
    assert sizes(tmp_path) == [3]


async def test_a_vault_that_is_down_at_the_end_holds_nothing_up(vault: BadVault, tmp_path: Path) -> None:
    """The ledger closes after one time-out, and the next start covers the records."""
    vault.limit = "1s"
    ledger = await opened(vault, tmp_path, records=1000)
    vault.signing = lambda message: vault.held(signature(message))
    await ledger.append(entries(1)[0])
    await ledger.close()
    assert not vault.going.is_set()
    assert sizes(tmp_path) == []
    vault.going.set()
    again = await opened(vault, tmp_path)
    await eventually(lambda: again.unsigned == 0)
    await again.close()
    assert sizes(tmp_path) == [1]
