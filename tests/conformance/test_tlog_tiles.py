"""The ledger as C2SP tlog-tiles, over HTTP and as files, read by a client that was written after the specification."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import NoteVerifier
from router.audit.tree.merkle import verify_consistency
from router.audit.tree.proof import prove_consistency
from router.audit.tree.tile_files import export
from router.control.tiles import Admit, TilesApp
from router.doors.http1 import GuardedHttp
from router.errors import IdentityError
from router.processes.server import server
from router.processes.sockets import bound, listen
from router.wiring.tiles import LedgerTiles
from tests.conformance.tiles_client import Client, Fetch
from tests.unit.audit.ledgers import SIGNER, entries, run

SIZES = (1, 255, 256, 300, 600, 66_100)
Answer = tuple[int, dict[str, str], bytes]


def grow(folder: Path, size: int) -> None:
    """Up to so many records, and a checkpoint over them; eleven more that none covers."""
    store = SqliteStore(folder / "ledger.sqlite")
    journal = Journal(store, Checkpointing(SIGNER, None, 3600, 1 << 30))
    journal.open()
    journal.append(entries(1) if journal.size == 0 else [])
    while journal.size < size:
        journal.append([system_entry("started", number) for number in range(min(2048, size - journal.size))])
    journal.sign_checkpoint()
    journal.append([system_entry("stopped", number) for number in range(11)])
    store.close()


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """One ledger for each size, none a part of another."""
    made = {size: tmp_path_factory.mktemp(f"ledger-{size}") for size in SIZES}
    for size, folder in made.items():
        grow(folder, size)
    return made


def open_reader(folder: Path) -> SqliteReader:
    return SqliteReader(folder / "ledger.sqlite", Stored)


@contextmanager
def tiles_server(folder: Path, admit: Admit | None = None) -> Iterator[int]:
    """The port of a real server on its own thread."""
    sock, loop = listen(bound("127.0.0.1", 0)), asyncio.new_event_loop()
    tiles = LedgerTiles(partial(open_reader, folder))
    running = server(TilesApp(tiles, admit), http=GuardedHttp, grace_s=1)

    async def serve() -> None:
        await running.serve([sock])
        await tiles.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield sock.getsockname()[1]
    running.stop()
    thread.join()
    loop.close()
    sock.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def fetching(port: int, prefix: str = "/") -> Fetch:
    def fetch(path: str) -> bytes:
        status, _, body = ask(port, prefix + path)
        if status != 200:
            raise KeyError(path)
        return body

    return fetch


@contextmanager
def static_host(folder: Path) -> Iterator[int]:
    """Any static host; this one is the standard library's."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.01,))
        thread.start()
        yield host.server_port
        host.shutdown()
        thread.join()


@contextmanager
def over_http(folder: Path, _: Path) -> Iterator[Fetch]:
    with tiles_server(folder) as port:
        yield fetching(port)


@contextmanager
def as_files(folder: Path, out: Path) -> Iterator[Fetch]:
    reader = open_reader(folder)
    export(reader, out / "log")
    reader.close()
    with static_host(out) as port:
        yield fetching(port, "/log/")


@pytest.mark.parametrize("served", [over_http, as_files])
@pytest.mark.parametrize("size", SIZES)
def test_the_root_follows_from_the_tiles_alone(ledgers: dict[int, Path], tmp_path: Path, size: int, served: Callable) -> None:
    """Every tile of every level, against those below it and the signed root; and any entry's inclusion with its hash from its bundle."""
    with served(ledgers[size], tmp_path) as fetch:
        client = Client(fetch)
        assert NoteVerifier(SIGNER.verifier).open_checkpoint(fetch("checkpoint").decode()).size == client.size == size
        client.verify_root()
        client.verify_root_from_the_top()
        reader = open_reader(ledgers[size])
        for index in {0, size // 2, size - 1}:
            (stored,) = reader.records(index, index + 1)
            assert client.verify_inclusion(index) == stored.leaf
        reader.close()


def test_a_monitor_that_comes_back_finds_the_tree_it_knew(tmp_path: Path) -> None:
    """From one export to the next: full tiles stay byte for byte, and the two roots are consistent."""
    grow(tmp_path, 300)
    before = Client(_files(tmp_path, tmp_path / "out"))
    full = before.tile("0", 0, 256)
    grow(tmp_path, 700)
    after = Client(_files(tmp_path, tmp_path / "out"))
    after.verify_root()
    assert after.tile("0", 0, 256) == full
    reader = open_reader(tmp_path)
    assert verify_consistency(300, 700, before.root, after.root, prove_consistency(reader, 300, 700))
    reader.close()
    assert not (tmp_path / "out/tile/0/001.p").exists()
    stale = Client(_files(tmp_path, tmp_path / "out"))
    stale.size, stale.root = before.size, before.root  # a client with the earlier checkpoint takes the full tiles
    stale.verify_root_from_the_top()
    stale.verify_inclusion(299)


def _files(folder: Path, out: Path) -> Fetch:
    reader = open_reader(folder)
    export(reader, out)
    reader.close()

    def fetch(path: str) -> bytes:
        try:
            return (out / path).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(path) from error

    return fetch


@pytest.fixture
def port(ledgers: dict[int, Path]) -> Iterator[int]:
    with tiles_server(ledgers[600]) as found:
        yield found


def test_answers_have_the_headers_of_the_specification(port: int) -> None:
    """Types and caching: tiles for long, full ones for ever, the checkpoint not at all."""
    status, headers, _ = ask(port, "/checkpoint")
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "text/plain; charset=utf-8", "no-cache")
    for path, caching in (("/tile/0/000", "public, max-age=31536000, immutable"), ("/tile/0/002.p/88", "public, max-age=3600, immutable")):
        status, headers, body = ask(port, path)
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/octet-stream", caching)
        assert len(body) % 32 == 0
    assert ask(port, "/tile/0/000", "HEAD")[::2] == (200, b"")
    assert ask(port, "/tile/0/000", "HEAD")[1]["content-length"] == "8192"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, br", False),
        ("x-gzip", False),
    ],
)
def test_entries_are_packed_for_who_accepts_it(port: int, accepted: str, packed: bool) -> None:
    """And are the same when unpacked."""
    plain = ask(port, "/tile/entries/000")[2]
    _, headers, body = ask(port, "/tile/entries/000", accept_encoding=accepted)
    assert headers["vary"] == "accept-encoding"
    assert (headers.get("content-encoding") == "gzip") == packed
    assert (gzip.decompress(body) if packed else body) == plain
    assert not packed or len(body) < len(plain) / 2


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//checkpoint",
        "/checkpoint/",
        "/checkpoint?x",
        "/%63heckpoint",
        "/tile/0/000/",
        "/tile/0/002",
        "/tile/0/002.p/89",
        "/tile/0/002.p/0",
        "/tile/0/003.p/1",
        "/tile/1/000.p/3",
        "/tile/1/000",
        "/tile/2/000.p/1",
        "/tile/63/000.p/1",
        "/tile/64/000.p/1",
        "/tile/0/x000/000",
        "/tile/0/0",
        "/tile/0/%30%30%30",
        "/tile/0/../../checkpoint",
        "/tile/0/000.p/../../../../etc/passwd",
        "/tile/entries/002.p/99",
        "/tile/entries/002",
        "/tile/0/x999/x999/x999/x999/x999/999",
        "/tile/0/" + "x999/" * 500 + "999",
    ],
)
def test_what_is_no_tile_of_the_latest_checkpoint_is_not_there(port: int, path: str) -> None:
    """Ways out, other spellings, empty tiles, and the eleven records that no checkpoint covers yet."""
    status, headers, body = ask(port, path)
    assert (status, headers["cache-control"]) == (404, "no-store")
    assert b"urn:lockgate:problem:not_found" in body


def test_only_reading_is_possible(port: int) -> None:
    """Every other method is refused."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = ask(port, "/checkpoint", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_ledger_without_a_checkpoint_has_nothing_to_show(tmp_path: Path) -> None:
    """Neither a checkpoint nor a tile."""
    store = SqliteStore(tmp_path / "ledger.sqlite")
    journal = Journal(store, Checkpointing(SIGNER))
    journal.open()
    journal.append(entries(3))
    with tiles_server(tmp_path) as port:
        assert b"checkpoint_missing" in ask(port, "/checkpoint")[2]
        assert ask(port, "/tile/0/000.p/3")[0] == 404
    store.close()


def test_a_ledger_with_a_hole_does_not_serve_it(ledgers: dict[int, Path], tmp_path: Path) -> None:
    """It is our fault, not the caller's, and nothing false is sent."""
    shutil.copy(ledgers[300] / "ledger.sqlite", tmp_path)
    run(tmp_path, "DELETE FROM leaf_hashes WHERE idx = 7", "DELETE FROM records WHERE idx = 7")
    with tiles_server(tmp_path) as port:
        for path in ("/tile/0/000", "/tile/entries/000"):
            status, _, body = ask(port, path)
            assert status == 503
            assert b"audit_tree_broken" in body
        assert ask(port, "/tile/0/001.p/44")[0] == 200


def test_who_is_not_let_in_gets_nothing(ledgers: dict[int, Path]) -> None:
    """Neither tiles nor the checkpoint; and what is given to some may be cached by them only."""

    async def admit(headers, certificate) -> None:
        if (b"x-api-key", b"good") not in headers:
            raise IdentityError("No API key was sent.", "credential_missing")

    with tiles_server(ledgers[300], admit) as port:
        for path in ("/checkpoint", "/tile/0/000", "/nothing"):
            status, headers, body = ask(port, path)
            assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="lockgate"')
            assert b"credential_missing" in body
        assert ask(port, "/checkpoint", x_api_key="good")[0] == 200
        assert ask(port, "/tile/0/000", x_api_key="good")[1]["cache-control"] == "private, max-age=31536000, immutable"
