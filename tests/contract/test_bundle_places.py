"""Bundles in a real OCI registry and on an S3 server: what is new is given, what is known is not, and whatever else is one sentence."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from adapters.bundle_oci import Login, OciBundle
from adapters.bundle_s3 import S3Keys, S3Object
from router.errors import BundleError
from tests.contract import oci_registry, s3_server
from tests.contract.oci_registry import LAYER, PASSWORD, USER, Registry
from tests.contract.s3_server import BUCKET, REGION, S3

oci_registry.needed()
s3_server.needed()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("places")


@pytest.fixture(scope="module", params=["none", "password", "tokens"])
def registry(request: pytest.FixtureRequest, folder: Path) -> Iterator[Registry]:
    with oci_registry.registry(folder / request.param, request.param) as found:
        yield found


@pytest.fixture(scope="module")
def open_registry(folder: Path) -> Iterator[Registry]:
    with oci_registry.registry(folder / "open") as found:
        yield found


@pytest.fixture(scope="module")
def s3(folder: Path) -> Iterator[S3]:
    with s3_server.s3_server(folder) as found:
        yield found


@asynccontextmanager
async def closing(place: Any) -> AsyncIterator[Any]:
    yield place
    await place.close()


def in_registry(registry: Registry, repository: str = "bank/lockgate", reference: str = "v1", **more: Any) -> Any:
    login = more.pop("login", Login(None, USER, PASSWORD))
    return closing(OciBundle(registry.host, repository, reference, login, timeout_s=5.0, **more))


def in_bucket(s3: S3, key: str = "team a/lockgate.tar.gz", **more: Any) -> Any:
    keys = more.pop("keys", S3Keys(s3.access, s3.secret))
    return closing(S3Object(BUCKET, key, REGION, lambda: keys, s3.url, timeout_s=5.0, **more))


async def refused(place: Any) -> str:
    async with place as asked:
        with pytest.raises(BundleError) as caught:
            await asked.ask(None, None)
    assert caught.value.code == "bundle_unavailable"
    return str(caught.value)


async def test_what_is_new_in_a_registry_is_given(registry: Registry) -> None:
    """Pushed by ORAS; open, with a password, and with tokens. The layer's digest says what is known already, and it never waits."""
    registry.push("bank/lockgate:v1", b"first")
    async with in_registry(registry) as place:
        first = await place.ask(None, 30.0)
        assert (first.content, first.waits) == (b"first", False)
        known = await place.ask(first.etag, 30.0)
        assert (known.content, known.etag) == (None, first.etag)
        registry.push("bank/lockgate:v1", b"second")
        assert (await place.ask(first.etag, None)).content == b"second"


async def test_only_what_is_needed_is_asked_for_at_the_server_of_tokens(folder: Path) -> None:
    """To pull this repository; a token serves until it ends, and another one is got then."""
    with oci_registry.registry(folder / "scopes", "tokens") as registry:
        assert registry.tokens is not None
        registry.push("bank/lockgate:v1", b"first")
        registry.tokens.scopes.clear()
        async with in_registry(registry) as place:
            for _ in range(3):
                await place.ask(None, None)
            assert registry.tokens.scopes == ["repository:bank/lockgate:pull"]
            place._authorization = "Bearer ended"
            assert (await place.ask(None, None)).content == b"first"


async def test_a_registry_is_asked_by_tls(folder: Path) -> None:
    """And only where one of the authorities vouches for it."""
    with oci_registry.registry(folder / "tls", "password", tls=True) as registry:
        registry.push("bank/lockgate:v1", b"first")
        async with in_registry(registry, ca=registry.ca) as place:
            assert (await place.ask(None, None)).content == b"first"
        with oci_registry.registry(folder / "other", tls=True) as other:
            assert "certificate verify failed" in await refused(in_registry(registry, ca=other.ca))


async def test_a_digest_names_one_manifest_for_ever(open_registry: Registry) -> None:
    """Whatever the tag says by now."""
    digest = open_registry.push("bank/lockgate:v1", b"first")
    open_registry.push("bank/lockgate:v1", b"second")
    async with in_registry(open_registry, reference=digest) as place:
        assert (await place.ask(None, None)).content == b"first"


async def test_who_may_not_read_is_told_so(folder: Path) -> None:
    """Of a wrong password, and of none."""
    for auth, sentence in (("password", "401"), ("tokens", "which answered 401")):
        with oci_registry.registry(folder / f"wrong-{auth}", auth) as registry:
            for login in (Login(None, USER, "wrong"), Login()):
                assert sentence in await refused(in_registry(registry, login=login))
            assert "does not take the token" in await refused(in_registry(registry, login=Login("mine")))


async def test_an_image_that_is_no_bundle_is_refused(open_registry: Registry) -> None:
    """Another type of layer, two of them, none of that name, and one that is too large."""
    open_registry.push("bank/other:v1", b"x", kind="application/vnd.oci.image.layer.v1.tar")
    assert "has no layers of the type" in await refused(in_registry(open_registry, "bank/other"))
    open_registry.push("bank/two:v1", b"x", b"y")
    assert "has 2 layers" in await refused(in_registry(open_registry, "bank/two"))
    assert "answered 404" in await refused(in_registry(open_registry, "bank/nothing"))
    open_registry.push("bank/large:v1", b"x" * (10 << 20) + b"x")
    assert "has a layer of 10485761 bytes" in await refused(in_registry(open_registry, "bank/large"))


async def test_what_lies_in_the_store_under_a_wrong_digest_is_not_taken(folder: Path) -> None:
    """Somebody who can write the registry's disk cannot exchange a layer."""
    with oci_registry.registry(folder / "exchanged") as registry:
        registry.push("bank/lockgate:v1", b"first")
        (blob,) = [each for each in (folder / "exchanged/storage").rglob("data") if each.read_bytes() == b"first"]
        blob.write_bytes(b"forst")
        assert "not what its manifest says" in await refused(in_registry(registry))


async def test_what_is_new_in_a_bucket_is_given(s3: S3) -> None:
    """By its entity tag; the signature covers a key with characters that have to be encoded."""
    s3.put("team a/lockgate.tar.gz", b"first")
    async with in_bucket(s3) as place:
        first = await place.ask(None, 30.0)
        assert (first.content, first.waits) == (b"first", False)
        known = await place.ask(first.etag, 30.0)
        assert (known.content, known.etag) == (None, first.etag)
        s3.put("team a/lockgate.tar.gz", b"second")
        assert (await place.ask(first.etag, None)).content == b"second"


async def test_a_bucket_says_why_not(s3: S3) -> None:
    """By S3's own code: a wrong secret, a key that nobody knows, nothing there; and nothing is longer than a bundle may be."""
    s3.put("team a/lockgate.tar.gz", b"first")
    assert "answered 403 (SignatureDoesNotMatch)" in await refused(in_bucket(s3, keys=S3Keys(s3.access, "wrong")))
    assert "answered 403 (InvalidAccessKeyId)" in await refused(in_bucket(s3, keys=S3Keys("AKIANOBODY", s3.secret)))
    assert "answered 404 (NoSuchKey)" in await refused(in_bucket(s3, "nothing"))
    s3.put("large", b"x" * (10 << 20) + b"x")
    assert "answered more than 10 MiB" in await refused(in_bucket(s3, "large"))


@pytest.mark.parametrize("away", ["http://127.0.0.1:{other}/stored", "http://storage.example/stored"])
async def test_a_layer_may_be_stored_elsewhere(away: str) -> None:
    """Which learns nothing of the login; and never without TLS, unless all is on this machine."""
    content, seen = b"stored", []
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    manifest = json.dumps({"schemaVersion": 2, "layers": [{"mediaType": LAYER, "digest": digest, "size": len(content)}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("authorization")))
            found = {"/stored": content, "/v2/bank/lockgate/manifests/v1": manifest}.get(self.path, b"")
            self.send_response(200 if found else 307)
            self.send_header("content-length", str(len(found)))
            self.send_header("location", away.format(other=other.server_address[1]))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_: object) -> None:
            return

    with serving(Handler) as registry, serving(Handler) as other:
        place = OciBundle(f"127.0.0.1:{registry.server_address[1]}", "bank/lockgate", "v1", Login("t0ken"), timeout_s=5.0)
        if "example" in away:
            assert "sends to a place without TLS (http://storage.example)" in await refused(closing(place))
            return
        async with closing(place) as asked:
            assert (await asked.ask(None, None)).content == content
    assert seen == [
        ("/v2/bank/lockgate/manifests/v1", "Bearer t0ken"),
        (f"/v2/bank/lockgate/blobs/{digest}", "Bearer t0ken"),
        ("/stored", None),
    ]


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_places_that_are_gone_are_one_sentence(folder: Path) -> None:
    """Of either kind."""
    assert "gave no bundle" in await refused(in_registry(Registry(9, folder)))
    assert "gave no bundle" in await refused(in_bucket(S3(9, "a", "b")))
