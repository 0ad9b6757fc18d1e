"""Policies that come as bundles: taken up under load, refused with a name, kept when their server is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.bundle.archive import pack
from router.bundle.build import Signing, assemble, collect
from router.bundle.content import Attestation, attested_digest
from tests.contract import oci_registry, s3_server
from tests.e2e.bundle_server import Shelf, serving
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli
from tests.e2e.test_reload import nothing_failed
from tests.e2e.wire import ask
from tests.e2e.yard import ROOT, policy_data
from tests.unit.bundle.making import PRIVATE, PUBLIC, pair, signing

Prepare = Callable[..., Lockgate]
KEYS = {"release": {"file": "k.pub"}}


def bundle(sequence: int, *, closed: bool = False, by: Signing | None = None, attested: bool = True, more: str = "") -> bytes:
    """The shipped policies; `closed` is a version in which nobody is granted a low risk, `more` another policy."""
    data = deepcopy(policy_data())
    if closed:
        data["lockgate"]["config"]["access"]["risks"].pop("low")
    found = collect(ROOT / "policies")
    texts = {**found.texts, **({"lockgate/more.rego": more.encode()} if more else {})}
    sources = replace(found, texts=texts, data=data)
    about = attested_digest(sources.policies, sources.tests, data)
    said = Attestation("opa", 93, about, "2026-11-28T00:00:00+00:00", "1.20.2", "library")
    files = assemble(sources, f"r{sequence}", sequence, ("lockgate",), said if attested else None, by or signing(PRIVATE))
    return pack(files)


def put(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


def prepared(prepare: Prepare, source: str, *arguments: str, **settings: Any) -> Lockgate:
    lockgate = prepare(*arguments, policy={"bundle": {"from": source, "keys": KEYS, "attested": "required", **settings}})
    (lockgate.yard.folder / "k.pub").write_bytes(PUBLIC)
    return lockgate


def in_force(lockgate: Lockgate) -> Any:
    return lockgate.control("GET", "/v1/config").json["policy_bundle"]


def verdict_of_next(lockgate: Lockgate) -> Any:
    return lockgate.story(lockgate.ask("ann", "GET", "/echo/next").decision)[0]["verdict"]


def refusals(lockgate: Lockgate) -> list[str]:
    return [each["reason"] for each in lockgate.system("policy_refused")]


def test_a_new_bundle_is_taken_up_under_load(prepare: Prepare) -> None:
    """The next decision carries its revision and digest, no request failed meanwhile, and both are on record with who signed."""
    lockgate = prepared(prepare, "b.tar.gz", "--workers", "2")
    file = lockgate.yard.folder / "b.tar.gz"
    put(file, bundle(1))
    lockgate.start()
    first = verdict_of_next(lockgate)
    assert first["revision"] == "r1"
    with load(lockgate, 2) as seen, load(lockgate, 2, keep=False) as fresh:
        until(lambda: seen.answered > 100, "there was some load")
        put(file, bundle(2, closed=True))
        until(lambda: in_force(lockgate)["revision"] == "r2", "the new bundle was in force")
        second, after = verdict_of_next(lockgate), seen.answered
        until(lambda: seen.answered > after + 100, "load went on")
    assert nothing_failed(seen), (seen.statuses, seen.broken)
    assert nothing_failed(fresh), (fresh.statuses, fresh.broken)
    assert (second["revision"], second["digest"]) == ("r2", in_force(lockgate)["digest"])
    assert second["digest"] != first["digest"]
    recorded = [(each["sequence"], each["digest"], each["signer"]) for each in lockgate.system("policy_activated")]
    assert recorded == [(1, first["digest"], "release"), (2, second["digest"], "release")]
    assert lockgate.ask("ann", "GET", "/items/1").code == "rbac.no_grant"
    _replayed(lockgate, bundle(1), first["digest"], second["digest"])


def _replayed(lockgate: Lockgate, former: bytes, first: str, second: str) -> None:
    """Put to what is in force, and to the former bundle's archive, each version's own decisions come out as they were."""
    candidate = lockgate.yard.folder / "former.tar.gz"
    candidate.write_bytes(former)
    for which, digest in ((), second), (("--policies", str(candidate)), first):
        done = cli("policy", "replay", "--config", str(lockgate.yard.config), "--where", f"bundle_digest = '{digest}'", *which, "--json")
        told = json.loads(done.stdout)
        assert (done.returncode, told["differences"]) == (0, []), told
        assert told["compared"] > 0


def test_what_is_refused_changes_nothing_and_is_on_record(prepare: Prepare) -> None:
    """Older, unsigned in effect, untested, not loadable: each has its reason, and the last good one decides on. After a restart, too."""
    lockgate = prepared(prepare, "b.tar.gz")
    file = lockgate.yard.folder / "b.tar.gz"
    put(file, bundle(5))
    lockgate.start()
    bad = 'package lockgate.more\n\nx := http.send({"url": "a"})\n'
    for content, why in (
        (bundle(6, by=signing(pair()[0])), "was made by somebody else"),
        (bundle(6, attested=False), "no attestation"),
        (bundle(4), "5 was in force before"),
        (bundle(5, closed=True), "the sequence 5 of another one"),
        (bundle(6, more=bad), "http.send"),
        (b"garbage", "not a gzip file"),
    ):
        put(file, content)
        until(lambda why=why: why in (lockgate.control("GET", "/v1/config").json["last_reload_problem"] or ""), why)
        assert verdict_of_next(lockgate)["revision"] == "r5"
    assert lockgate.control("POST", "/v1/config/reload").code == "bundle_unreadable"
    assert refusals(lockgate) == ["bundle_signature_wrong"]  # the others came within a minute, and are counted with the next
    put(file, bundle(4))
    lockgate.process.stop()
    lockgate.process.start()
    until(lambda: lockgate.process.ended is not None, "it did not start with an older bundle")
    assert "5 was in force before" in lockgate.process.said
    put(file, bundle(6))
    lockgate.start()
    assert in_force(lockgate)["sequence"] == 6


def test_a_server_is_followed_and_may_go_away(prepare: Prepare) -> None:
    """Long polling brings a new bundle at once; what it refuses or cannot read changes nothing; a restart without it goes on."""
    shelf = Shelf(bundle(1), token="t0ken")
    with serving(shelf):
        lockgate = prepared(prepare, shelf.url, poll="1s", timeout="2s", token="t0ken")
        lockgate.start()
        assert in_force(lockgate)["revision"] == "r1"
        until(lambda: any("wait=30" in each.get("prefer", "") for each in shelf.seen), "the server was asked to wait")
        with load(lockgate, 2) as seen:
            shelf.put(bundle(2))
            until(lambda: in_force(lockgate)["revision"] == "r2", "the new bundle was in force")
            for mode in ("garbage", "cut", "error", "large"):
                before = len(shelf.statuses)
                shelf.put(bundle(3), mode)
                until(lambda before=before: len(shelf.statuses) > before + 1, f"{mode} was asked for more than once")
                assert in_force(lockgate)["revision"] == "r2"
            shelf.put(bundle(4))
            until(lambda: in_force(lockgate)["revision"] == "r4", "it was taken up again")
        assert nothing_failed(seen), (seen.statuses, seen.broken)
        assert "bundle_unreadable" in refusals(lockgate)
    lockgate.process.stop()
    lockgate.start()
    assert in_force(lockgate)["revision"] == "r4"
    assert lockgate.ask("ann", "GET", "/items/1").status == 200


def test_a_start_asks_the_server_where_what_it_gave_before_will_not_do(prepare: Prepare) -> None:
    """Another key is configured, and the bundle that was kept is the former one's: what the server gives by now is taken, and kept. Without
    the server nothing starts, and both reasons are said."""
    shelf = Shelf(bundle(1))
    private, public = pair()
    with serving(shelf):
        lockgate = prepared(prepare, shelf.url, poll="1s", timeout="2s")
        lockgate.start()
        lockgate.process.stop()
        (lockgate.yard.folder / "k.pub").write_bytes(public)
        shelf.put(bundle(2, by=signing(private)))
        lockgate.start()
        assert in_force(lockgate)["revision"] == "r2"
        lockgate.process.stop()
    lockgate.start()
    assert in_force(lockgate)["revision"] == "r2"
    lockgate.process.stop()
    (lockgate.yard.folder / "k.pub").write_bytes(PUBLIC)
    lockgate.process.start()
    until(lambda: lockgate.process.ended is not None, "it did not start by itself")
    assert "the bundle that was kept cannot be used" in lockgate.process.said


def test_a_registry_is_followed_and_may_go_away(prepare: Prepare, tmp_path: Path) -> None:
    """As a server is: what is new is in force after a poll, a refused one changes nothing, and without it all goes on."""
    oci_registry.needed()
    with oci_registry.registry(tmp_path / "registry", "tokens") as registry:
        registry.push("bank/lockgate:live", bundle(1))
        login = {"user": oci_registry.USER, "password": oci_registry.PASSWORD}
        lockgate = prepared(prepare, f"oci://{registry.host}/bank/lockgate:live", poll="300ms", timeout="2s", registry=login)
        lockgate.start()
        assert in_force(lockgate)["revision"] == "r1"
        followed(lockgate, lambda content: registry.push("bank/lockgate:live", content))
    assert lockgate.ask("ann", "GET", "/items/1").status == 200


@pytest.mark.slow
def test_a_bucket_is_followed_and_may_go_away(prepare: Prepare, tmp_path: Path) -> None:
    """The same, by signed requests."""
    s3_server.needed()
    with s3_server.s3_server(tmp_path) as s3:
        s3.put("lockgate.tar.gz", bundle(1))
        keys = {"endpoint": s3.url, "region": s3_server.REGION, "access_key": s3.access, "secret_key": s3.secret}
        source = f"s3://{s3_server.BUCKET}/lockgate.tar.gz"
        lockgate = prepared(prepare, source, poll="300ms", timeout="2s", s3=keys)
        lockgate.start()
        assert in_force(lockgate)["revision"] == "r1"
        followed(lockgate, lambda content: s3.put("lockgate.tar.gz", content))
    goes_on_without(lockgate)


def followed(lockgate: Lockgate, put_there: Callable[[bytes], object]) -> None:
    put_there(bundle(2, closed=True))
    until(lambda: in_force(lockgate)["revision"] == "r2", "the new bundle was in force")
    assert lockgate.ask("ann", "GET", "/items/1").code == "rbac.no_grant"
    put_there(bundle(3, by=signing(pair()[0])))
    until(lambda: refusals(lockgate) == ["bundle_signature_wrong"], "it was refused")
    assert in_force(lockgate)["revision"] == "r2"
    put_there(bundle(4))
    until(lambda: in_force(lockgate)["revision"] == "r4", "it was taken up again")


def goes_on_without(lockgate: Lockgate) -> None:
    lockgate.process.stop()
    lockgate.start()
    assert in_force(lockgate)["revision"] == "r4"
    assert lockgate.ask("ann", "GET", "/items/1").status == 200


@pytest.mark.slow
def test_policies_that_nobody_confirms_end(prepare: Prepare) -> None:
    """After `max_age` everything is denied with a name and readiness says so; when the server is back, all is as it was."""
    shelf = Shelf(bundle(1), waits=False)
    with serving(shelf):
        lockgate = prepared(prepare, shelf.url, poll="200ms", wait="1s", timeout="1s", max_age="3s")
        lockgate.start()
        until(lambda: 304 in shelf.statuses, "the bundle was confirmed")
        assert lockgate.ask("ann", "GET", "/items/1").status == 200
    until(lambda: lockgate.ask("ann", "GET", "/items/1").status == 403, "it was too old")
    assert lockgate.ask("ann", "GET", "/items/1").code == "policy_stale"
    ready = ask(lockgate.ports["control"], "GET", "/readyz")
    assert ready.status == 503
    assert "policy_stale" in str(ready.json)
    assert "lockgate_policy_age_seconds" in str(ask(lockgate.ports["control"], "GET", "/metrics", lockgate.keys["root"]).body)
    with serving(shelf):
        until(lambda: lockgate.ask("ann", "GET", "/items/1").status == 200, "the policies were confirmed again")
        assert lockgate.ready()
