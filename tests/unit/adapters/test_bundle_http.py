"""A server of bundles on loopback, asked as OPA asks one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.bundle_http import BundleServer
from router.errors import BundleError
from tests.e2e.bundle_server import Shelf, serving


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving(Shelf(b"first")) as shelf:
        yield shelf


@pytest.fixture
async def server(shelf: Shelf) -> AsyncIterator[BundleServer]:
    made = BundleServer(shelf.url, token="t", timeout_s=1.0)
    yield made
    await made.close()


async def test_what_is_new_is_given_and_what_is_known_is_not(shelf: Shelf, server: BundleServer) -> None:
    """By its entity tag; the answer says whether the server can wait."""
    first = await server.ask(None, None)
    assert (first.content, first.etag, first.waits) == (b"first", shelf.etag, True)
    assert (await server.ask(first.etag, None)).content is None
    assert shelf.statuses == [200, 304]
    assert shelf.seen[1]["prefer"] == "modes=snapshot"
    assert shelf.seen[1]["authorization"] == "Bearer t"


async def test_a_server_that_waits_answers_when_there_is_something_new(shelf: Shelf, server: BundleServer) -> None:
    """And not before; it is asked in OPA's words."""
    waiting = asyncio.create_task(server.ask(shelf.etag, 30))
    while not shelf.seen:  # noqa: ASYNC110  # the server tells nobody
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    shelf.put(b"second")
    assert (await waiting).content == b"second"
    assert shelf.seen[0]["prefer"] == "modes=snapshot;wait=30"


@pytest.mark.parametrize(
    ("mode", "sentence"), [("error", "answered 500"), ("cut", "gave no bundle"), ("large", "more than 10 MiB"), ("slow", "in time")]
)
async def test_a_server_that_fails_is_one_sentence(shelf: Shelf, server: BundleServer, mode: str, sentence: str) -> None:
    """Whatever it does; nothing half is ever given."""
    shelf.put(b"second", mode)
    with pytest.raises(BundleError, match=sentence) as caught:
        await server.ask(None, None)
    assert caught.value.code == "bundle_unavailable"


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    """As are refused credentials."""
    with serving(Shelf(b"x", token="other")) as shelf:
        server = BundleServer(shelf.url, token="t", timeout_s=1.0)
        with pytest.raises(BundleError, match="answered 401"):
            await server.ask(None, None)
    with pytest.raises(BundleError, match="gave no bundle"):
        await server.ask(None, None)
    await server.close()


async def test_authorities_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Before anybody is asked."""
    with pytest.raises(BundleError, match="cannot be read as the authorities"):
        BundleServer("https://127.0.0.1:1/b", ca=tmp_path / "none.pem")
