"""What a start asks the server of bundles for, and how it is asked from then on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.config import Config
from router.errors import AuditError, BundleError, ConfigError, StateError
from router.policy_sources import kept_bundle
from router.processes.bundle_server import begin_with, follow
from tests.e2e.bundle_server import Shelf, serving
from tests.e2e.test_policy_bundles import bundle
from tests.unit.bundle.making import PUBLIC, pair, signing

CATALOG = """\
version: 1
name: small
destinations:
  items: {adapter: http, upstreams: [{url: "http://127.0.0.1:1"}]}
routes:
  items.api: {destination: items}
intents:
  read_item: {description: Somebody reads one item of the shop., owner: team-shop, risk: low, route: items.api}
rules:
  - {name: one-item, match: {method: GET, path: "/items/{id}"}, intent: read_item}
"""
CONFIG = """\
version: 1
audit: {{origin: ledger.example/test}}
policy: {{bundle: {{from: "{url}", keys: {{release: {{file: k.pub}}}}}}}}
"""
REFUSED = 'package lockgate.more\n\nx := http.send({"url": "a"})\n'


def workspace(folder: Path, url: str, kept: bytes | None = None) -> Path:
    (folder / "lockgate.yaml").write_text(CONFIG.format(url=url), encoding="utf-8")
    (folder / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
    (folder / "k.pub").write_bytes(PUBLIC)
    if kept is not None:
        place = folder / kept_bundle("state", url)
        place.parent.mkdir(parents=True)
        place.write_bytes(kept)
    return folder / "lockgate.yaml"


@pytest.mark.parametrize(
    "kept",
    [bundle(1, by=signing(pair()[0])), bundle(1, attested=False), bundle(1, more=REFUSED), b"garbage"],
    ids=["another key", "nothing of tests", "what the engine refuses", "damaged"],
)
async def test_what_was_kept_and_will_not_do_is_asked_for_anew(kept: bytes, tmp_path: Path) -> None:
    """Whatever this release has against it; what the server gives decides."""
    with serving(Shelf(bundle(2))) as shelf:
        begun = await begin_with(workspace(tmp_path, shelf.url, kept), {})
    assert (begun.given, begun.workspace.bundle and begun.workspace.bundle.revision) == (True, "r2")


async def test_what_was_kept_and_will_do_is_begun_with(tmp_path: Path) -> None:
    """Nobody is asked, and its policies are checked once."""
    with serving(Shelf(bundle(2))) as shelf:
        begun = await begin_with(workspace(tmp_path, shelf.url, bundle(1)), {})
    assert (begun.given, begun.workspace.bundle and begun.workspace.bundle.revision, shelf.seen) == (False, "r1", [])
    assert begun.plan is not None


async def test_a_first_bundle_is_said_to_have_been_given(tmp_path: Path) -> None:
    """So that it is held against what other nodes know."""
    with serving(Shelf(bundle(2))) as shelf:
        begun = await begin_with(workspace(tmp_path, shelf.url), {})
    assert (begun.given, begun.workspace.bundle and begun.workspace.bundle.revision) == (True, "r2")


async def test_a_first_bundle_that_will_not_do_is_not_asked_for_again(tmp_path: Path) -> None:
    """The server has just given it, and has no other."""
    with serving(Shelf(bundle(1, by=signing(pair()[0])))) as shelf, pytest.raises(BundleError, match="was made by somebody else"):
        await begin_with(workspace(tmp_path, shelf.url), {})
    assert shelf.statuses == [200]


async def test_a_renewed_token_is_read_again(tmp_path: Path) -> None:
    """From its file, once the server does not take the former one any more."""
    (tmp_path / "token").write_text("first", encoding="utf-8")
    with serving(Shelf(b"one", token="first", waits=False)) as shelf:
        settings = {"from": shelf.url, "unsigned": True, "token": {"file": "token"}, "poll": "0.1s", "timeout": "2s"}
        config = Config(version=1, policy={"bundle": settings})
        given = asyncio.Queue[bytes]()

        async def reload(downloaded: bytes) -> str:
            given.put_nowait(downloaded)
            return ""

        taking: Any = SimpleNamespace(
            workspace=SimpleNamespace(config=config, root=tmp_path, digests=SimpleNamespace(config="c")), reload=reload
        )
        following = asyncio.create_task(follow(taking, SimpleNamespace(confirmed=lambda _: None)))
        try:
            async with asyncio.timeout(30):
                assert await given.get() == b"one"
                shelf.token = "second"
                while 401 not in shelf.statuses:  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0.01)
                (tmp_path / "token").write_text("second", encoding="utf-8")
                shelf.put(b"two")
                assert await given.get() == b"two"
        finally:
            following.cancel()


class Reloading:
    """Takes what it is given, but for the first times, when something else stands in the way."""

    def __init__(self, config: Config, root: Path, *problems: Exception) -> None:
        self.workspace: Any = SimpleNamespace(config=config, root=root, digests=SimpleNamespace(config="c"))
        self.problems = list(problems)
        self.given = asyncio.Queue[bytes]()

    async def reload(self, downloaded: bytes | None = None) -> str:
        self.given.put_nowait(downloaded or b"")
        if self.problems:
            raise self.problems.pop(0)
        return ""


@pytest.mark.parametrize("waits", [False, True])
async def test_what_could_not_be_taken_up_for_another_reason_is_asked_for_again(waits: bool, tmp_path: Path) -> None:
    """A ledger that was away, a disk that was full, a file that somebody was writing: the same bundle comes into force afterwards."""
    with serving(Shelf(b"one", waits=waits)) as shelf:
        config = Config(version=1, policy={"bundle": {"from": shelf.url, "unsigned": True, "poll": "0.1s", "wait": "5s", "timeout": "2s"}})
        problems = AuditError("away"), StateError("full"), ConfigError("lockgate.yaml:3: half"), OSError("unforeseen")
        taking, confirmed = Reloading(config, tmp_path, *problems), asyncio.Event()
        following = asyncio.create_task(follow(taking, SimpleNamespace(confirmed=lambda _: confirmed.set())))
        try:
            async with asyncio.timeout(30):
                assert [await taking.given.get() for _ in range(5)] == [b"one"] * 5
                await confirmed.wait()
        finally:
            following.cancel()


async def test_a_bundle_that_was_refused_is_not_fetched_again(tmp_path: Path) -> None:
    """Nothing about it changes by that; another one is taken."""
    with serving(Shelf(b"one", waits=False)) as shelf:
        config = Config(version=1, policy={"bundle": {"from": shelf.url, "unsigned": True, "poll": "0.1s", "timeout": "2s"}})
        taking = Reloading(config, tmp_path, BundleError("older", "bundle_rolled_back"))
        following = asyncio.create_task(follow(taking, SimpleNamespace(confirmed=lambda _: None)))
        try:
            async with asyncio.timeout(30):
                assert await taking.given.get() == b"one"
                while shelf.statuses.count(304) < 3:  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0.01)
                assert taking.given.empty()
                shelf.put(b"two")
                assert await taking.given.get() == b"two"
        finally:
            following.cancel()
