"""Erasure by a running Lockgate: control process, workers that cache keys, held requests, the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from router.audit.records.record import system_entry
from router.processes.evidence import open_evidence
from router.system import SystemClock
from router.workspace import parse, read
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, company

PERSON = "ann"


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lockgate, str, Any]]:
    """Two workers that know ann's key, a request of hers that waits for a manager, and then her erasure, ordered on the command line."""
    with company(tmp_path_factory.mktemp("erased"), "--workers", "2") as lockgate:
        for _ in range(12):
            assert lockgate.ask(PERSON, "GET", "/echo").status in (200, 403, 404)
        review = lockgate.ask(PERSON, "POST", "/pay/1", {"amount": 5})
        assert review.status == 202
        answer = order(
            lockgate, "erase", "--subject", PERSON, "--authority", "Olga Brandt", "--reason", "gdpr_art_17", "--case", "DSR 1", "-y"
        )
        assert answer.returncode == 0, answer.stderr
        yield lockgate, review.decision, json.loads(answer.stdout)


def order(lockgate: Lockgate, *arguments: str, who: str = "root") -> Any:
    where = ("--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys[who])
    return cli("audit", *arguments, *where, "--config", str(lockgate.yard.config), "--json")


def key_ids(lockgate: Lockgate) -> set[str]:
    with closing(sqlite3.connect(f"{(lockgate.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=30)) as file:
        return {key_id for (key_id,) in file.execute("SELECT DISTINCT key_id FROM records WHERE sealed <> x''")}


def test_the_record_is_signed_and_everything_verifies(erased: tuple[Lockgate, str, Any]) -> None:
    """The answer of the command is the record with its proof; the ledger is whole."""
    lockgate, _, receipt = erased
    assert receipt["leaf"]["event"] == "subject_erased"
    assert receipt["leaf"]["details"]["records"] >= 14
    assert receipt["checkpoint"].count("\n") >= 5
    assert lockgate.verify().returncode == 0
    assert "Olga" not in json.dumps(lockgate.leaves())


def test_no_worker_keeps_the_key(erased: tuple[Lockgate, str, Any]) -> None:
    """Whichever worker answers, what the person asks now is sealed under another key."""
    lockgate, _, receipt = erased
    size = len(lockgate.leaves())
    for _ in range(12):
        lockgate.ask(PERSON, "GET", "/echo")
    until(lambda: len(lockgate.leaves()) >= size + 12, "they were recorded")
    with closing(sqlite3.connect(f"{(lockgate.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=30)) as file:
        after = {key_id for (key_id,) in file.execute("SELECT key_id FROM records WHERE idx > ?", (receipt["record"],))}
    assert receipt["leaf"]["details"]["key_id"] not in after
    assert receipt["leaf"]["details"]["key_id"] in key_ids(lockgate)


def test_what_was_held_is_never_sent(erased: tuple[Lockgate, str, Any]) -> None:
    """It has ended with its reason, cannot be approved any more, and nothing reached the service."""
    lockgate, review, _ = erased
    shown = lockgate.control("GET", f"/v1/reviews/{review}").json
    assert (shown["state"], shown["request"]) == ("expired", {"problem": "removed"})
    approval = {"comment": "late", "content_digest": shown["content_digest"]}
    assert lockgate.control("POST", f"/v1/reviews/{review}/approve", approval, who="max").code == "review_not_pending"
    assert lockgate.arrived("/pay/1") == []
    outcome = next(leaf["outcome"] for leaf in reversed(lockgate.story(review)) if "outcome" in leaf)
    assert (outcome["result"], outcome["reason"]) == ("denied", "subject_erased")


def test_who_may_not_erase_is_refused(erased: tuple[Lockgate, str, Any]) -> None:
    """Reading the trail does not include destroying any of it, and neither does deciding about requests."""
    lockgate, _, _ = erased
    for who in ("max", "idle"):
        answer = lockgate.control("POST", "/v1/audit/erasures", {"subject": "bob", "authority": "x", "reason": "x"}, who=who)
        assert (answer.status, answer.code) == (403, "permission_missing")


def test_what_is_on_hold_is_not_erased_until_it_is_released(erased: tuple[Lockgate, str, Any]) -> None:
    """Over HTTP: 201, then 409 that names the record of the hold, then 200."""
    lockgate, _, _ = erased
    lockgate.ask("bob", "GET", "/echo")
    hold = lockgate.control("POST", "/v1/audit/holds", {"on": "subject", "target": "bob", "case": "Case 7"})
    assert hold.status == 201
    wanted = {"subject": "bob", "authority": "Olga", "reason": "gdpr_art_17"}
    refused = lockgate.control("POST", "/v1/audit/erasures", wanted)
    assert (refused.status, refused.code) == (409, "audit_on_hold")
    assert f"record {hold.json['record']}" in refused.json["detail"]
    assert [each["record"] for each in lockgate.control("GET", "/v1/audit/holds").json["holds"]] == [hold.json["record"]]
    released = lockgate.control("POST", f"/v1/audit/holds/{hold.json['record']}/release", {"case": "Case 7"})
    assert released.status == 200
    assert lockgate.control("POST", "/v1/audit/erasures", wanted).status == 200


def test_beside_a_running_lockgate_the_files_are_not_touched(erased: tuple[Lockgate, str, Any]) -> None:
    """Without a key the command works on files, which somebody owns: one sentence says what to give."""
    lockgate, _, _ = erased
    command = ("audit", "erase", "--subject", "mia", "--authority", "x", "--reason", "x", "-y", "--config", str(lockgate.yard.config))
    answer = cli(*command, LOCKGATE_KEY="")
    assert answer.returncode == 2
    assert "A running Lockgate owns this ledger" in answer.stderr


async def ordered(lockgate: Lockgate, subject: str) -> str:
    """An order that is on record and not carried out, as a crash leaves it; the key's id."""
    evidence = await open_evidence(parse(read(lockgate.yard.config, os.environ), os.environ), SystemClock())
    key_id = await evidence.keys.find(subject)
    await evidence.ledger.append(system_entry("erasure_ordered", evidence.clock.now_ns(), {"key_id": key_id, "reason": "gdpr_art_17"}))
    await evidence.close()
    assert key_id is not None
    return key_id


def test_a_start_finishes_what_was_ordered_before_anybody_is_served(start: Callable[..., Lockgate]) -> None:
    """The first request of the same person after it is sealed under another key."""
    lockgate = start()
    lockgate.ask(PERSON, "GET", "/echo/x")
    lockgate.process.kill()
    key_id = asyncio.run(ordered(lockgate, PERSON))
    lockgate.start()
    (told,) = lockgate.system("subject_erased")
    assert told["key_id"] == key_id
    decision = lockgate.ask(PERSON, "GET", "/echo/x").decision
    sealed_under = {leaf["id"]: index for index, leaf in enumerate(lockgate.leaves()) if leaf.get("id") == decision}
    with closing(sqlite3.connect(f"{(lockgate.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=30)) as file:
        ((after,),) = file.execute("SELECT key_id FROM records WHERE idx = ?", (min(sealed_under.values()),))
    assert after != key_id
    assert lockgate.verify().returncode == 0


def test_without_retention_nothing_is_pruned(erased: tuple[Lockgate, str, Any]) -> None:
    """409, and what is missing is named; who may erase nothing may prune nothing."""
    lockgate, _, _ = erased
    answer = lockgate.control("POST", "/v1/audit/prunings", {})
    assert (answer.status, answer.code) == (409, "audit_retention_missing")
    assert lockgate.control("POST", "/v1/audit/prunings", {}, who="idle").code == "permission_missing"
