from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.jwks_file import JwksFile
from adapters.jwks_http import JwksUrl
from router.errors import ConfigError, IdentityError, StateError
from router.identity.authenticate import Authenticator
from router.identity.issuer_keys import FetchedKeys, WatchedKeys
from tests.unit.identity.issuing import ec, jwks, rsa, token, verifier
from tests.unit.identity.parts import NOW, HandClock
from tests.unit.identity.provider import Provider


def bearer(credential: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + credential)]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider(jwks(rsa())) as served:
        yield served


@pytest.fixture
async def fetched(provider: Provider, clock: HandClock) -> AsyncIterator[FetchedKeys]:
    keys = FetchedKeys(JwksUrl(provider.url), clock, pause=30, max_age=3600)
    await keys.open()
    yield keys
    await keys.close()


async def test_keys_come_from_the_url(fetched: FetchedKeys) -> None:
    """What the issuer publishes when Lockgate starts verifies its tokens, without another fetch."""
    assert Authenticator("gateway", tokens=verifier(fetched)).authenticate(bearer(token()), NOW).id == "alice"


async def test_a_new_key_is_fetched_when_a_token_names_it(provider: Provider, fetched: FetchedKeys, clock: HandClock) -> None:
    """Rotation: an unknown kid asks the issuer once and the token passes."""
    door = Authenticator("gateway", tokens=verifier(fetched))
    provider.document = jwks(rsa("r2"))
    clock.forward(31)
    assert (await door.identify(bearer(token(rsa("r2"))), NOW)).id == "alice"
    with pytest.raises(IdentityError, match="not known"):
        await door.identify(bearer(token()), NOW)


async def test_unknown_key_ids_cannot_make_it_ask_again_and_again(provider: Provider, fetched: FetchedKeys, clock: HandClock) -> None:
    """Within the pause a token with a made-up kid is refused without a fetch."""
    door = Authenticator("gateway", tokens=verifier(fetched))
    clock.forward(31)
    for kid in ("x", "y", "z"):
        with pytest.raises(IdentityError) as caught:
            await door.identify(bearer(token(header={"kid": kid})), NOW)
        assert caught.value.code == "key_unknown"
    assert provider.asked == 2


async def test_an_issuer_that_is_down_leaves_the_last_good_keys(provider: Provider, fetched: FetchedKeys, clock: HandClock) -> None:
    """Errors and rubbish do not replace keys that work; they do not live longer than the maximum age either."""
    door = Authenticator("gateway", tokens=verifier(fetched))
    provider.status = 500
    clock.forward(31)
    await fetched.refresh()
    provider.status, provider.document = 200, b"<html>"
    clock.forward(31)
    await fetched.refresh()
    assert door.authenticate(bearer(token()), NOW).id == "alice"
    clock.forward(3600)
    with pytest.raises(IdentityError) as caught:
        await door.identify(bearer(token()), NOW)
    assert (caught.value.code, caught.value.status) == ("keys_unavailable", 503)


async def test_a_start_without_the_issuer_recovers(provider: Provider, clock: HandClock) -> None:
    """An issuer that is down at start is asked again by the first token after the pause."""
    provider.status = 503
    keys = FetchedKeys(JwksUrl(provider.url), clock)
    await keys.open()
    door = Authenticator("gateway", tokens=verifier(keys))
    with pytest.raises(IdentityError) as caught:
        await door.identify(bearer(token()), NOW)
    assert caught.value.code == "keys_unavailable"
    provider.status = 200
    clock.forward(31)
    assert (await door.identify(bearer(token()), NOW)).id == "alice"
    await keys.close()


async def test_a_slow_issuer_does_not_hold_up_the_start(provider: Provider, clock: HandClock) -> None:
    """Opening gives up waiting; the first token waits for the same fetch, so the issuer is asked once."""
    provider.go.clear()
    keys = FetchedKeys(JwksUrl(provider.url), clock, patience=0.01)
    await keys.open()
    door = Authenticator("gateway", tokens=verifier(keys))
    waiting = [asyncio.create_task(door.identify(bearer(token()), NOW)) for _ in range(3)]
    await asyncio.sleep(0)
    provider.go.set()
    assert [subject.id for subject in await asyncio.gather(*waiting)] == ["alice"] * 3
    assert provider.asked == 1
    await keys.close()


async def test_redirects_are_not_followed(provider: Provider) -> None:
    """An answer cannot send Lockgate to another place for keys."""
    provider.status, provider.location = 302, "http://127.0.0.1:1/"
    url = JwksUrl(provider.url)
    with pytest.raises(StateError, match="answered 302"):
        await url.fetch()
    await url.close()


async def test_an_endless_document_is_cut_off(provider: Provider) -> None:
    """More than a mebibyte is no key set."""
    provider.document = b" " * (2 << 20)
    url = JwksUrl(provider.url)
    with pytest.raises(StateError, match="more than"):
        await url.fetch()
    await url.close()


async def test_an_issuer_that_is_not_there_is_a_state_error() -> None:
    """The client's own exceptions stay in the adapter."""
    url = JwksUrl("http://127.0.0.1:1/jwks")
    with pytest.raises(StateError, match="gave no keys"):
        await url.fetch()
    await url.close()


@pytest.mark.parametrize("url", ["http://id.example/jwks", "ftp://127.0.0.1/", "id.example", "http://localhost.evil.example/"])
def test_keys_over_an_open_wire_are_refused(url: str) -> None:
    """Plain http is for loopback only."""
    with pytest.raises(ConfigError, match="must be https"):
        JwksUrl(url)


def test_a_changed_file_is_read_again(tmp_path: Path, clock: HandClock) -> None:
    """A watched file takes effect within a second."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(rsa()))
    keys = WatchedKeys(JwksFile(path), clock)
    first = keys.ring()
    path.write_bytes(jwks(ec()))
    os.utime(path, ns=(1, 1))
    assert keys.ring() is first
    clock.forward(1)
    assert keys.ring().find("e1", "ES256") is not None


def test_a_broken_file_leaves_the_last_good_keys(tmp_path: Path, clock: HandClock) -> None:
    """Half-written and vanished files are waited for, until the maximum age."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(rsa()))
    keys = WatchedKeys(JwksFile(path), clock, max_age=60)
    first = keys.ring()
    path.write_bytes(b'{"keys": [')
    clock.forward(1)
    assert keys.ring() is first
    path.unlink()
    clock.forward(58)
    assert keys.ring() is first
    clock.forward(61)
    with pytest.raises(IdentityError, match="not available"):
        keys.ring()


def test_a_file_that_stays_good_never_ages(tmp_path: Path, clock: HandClock) -> None:
    """The maximum age counts from the last time the file was seen in order."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(rsa()))
    keys = WatchedKeys(JwksFile(path), clock, max_age=60)
    first = keys.ring()
    for _ in range(3):
        clock.forward(59)
        assert keys.ring() is first
    clock.forward(3600)
    assert keys.ring() is first
