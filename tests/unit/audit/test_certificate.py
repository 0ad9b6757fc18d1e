from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from adapters.sqlite.index import SqliteIndex
from router.audit.checking.certificate import certify, check_certificate
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query, Trail
from router.audit.records.canonical import timestamp
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.audit.tree.checkpoint import NoteSigner
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.audit.tree.ranges import boundary_hashes, root_of_run
from router.decision import Level, Outcome, Result, Risk
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import SIGNER, reader, run, written
from tests.unit.audit.samples import DENIED, KEY, KEY_ID, OUTCOME, ambiguous, numbered

START = numbered(0).decided_ns
SECOND = 1_000_000_000


def records() -> list[Entry]:
    made = [system_entry("started", START - SECOND)]
    for number in range(20):
        decision = numbered(number, risk=Risk(Level.HIGH if number % 3 == 0 else Level.LOW, 0.5))
        if number % 4 == 0:
            decision = replace(decision, outcome=DENIED.outcome)
        confidence = replace(decision.classification, confidence=number / 20)
        made.append(decision_entry(replace(decision, classification=confidence), b"{}", KEY_ID, KEY))
        made.append(outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, KEY_ID, KEY))
    return made


def certificate(folder: Path, query: Query) -> list[bytes]:
    if not (folder / "ledger.sqlite").exists():
        written(folder, records())
    with closing(reader(folder)) as source, closing(SqliteIndex(folder / "index.sqlite")) as index:
        return list(certify(source, index, query))


def checked(lines: Sequence[bytes], **more: Any) -> list[int]:
    _, found = check_certificate(lines, SIGNER.verifier, **more)
    return [index for index, _ in found]


def asked(folder: Path, query: Query) -> list[int]:
    with closing(reader(folder)) as source, closing(SqliteIndex(folder / "index.sqlite")) as index:
        return [found.index for found in Trail(source, index).find(query, newest=False)]


DECISIONS = Query(kind="decision")


@pytest.mark.parametrize(
    "query",
    [
        DECISIONS,
        replace(DECISIONS, risk="high"),
        replace(DECISIONS, min_confidence=0.3, max_confidence=0.6),
        replace(DECISIONS, reason="role_missing"),
        replace(DECISIONS, intent="payment.cancel", route="payments", effect="allow", tenant="committed"),
        replace(DECISIONS, trace_id="a1" * 16),
        replace(DECISIONS, since=timestamp(START + 3 * SECOND), until=timestamp(START + 9 * SECOND)),
        replace(DECISIONS, since=timestamp(START + 15 * SECOND)),
        replace(DECISIONS, until=timestamp(START + 2 * SECOND)),
        replace(DECISIONS, since=timestamp(START + 900 * SECOND)),
        Query(decision_id=numbered(7).id),
        Query(kind="outcome", result="routed"),
        Query(kind="system", result="started"),
        Query(),
    ],
)
def test_who_checks_finds_what_the_server_answered(tmp_path: Path, query: Query) -> None:
    """From the certificate and the key alone."""
    lines = certificate(tmp_path, query)
    assert checked(lines) == asked(tmp_path, query)


def test_what_is_proven_is_said(tmp_path: Path) -> None:
    """The whole ledger leaves nothing to the server's word; a window of time does."""
    whole, found = check_certificate(certificate(tmp_path, DECISIONS), SIGNER.verifier)
    assert (len(list(found)), whole.matches, whole.words) == (20, 20, [])
    assert (whole.start, whole.end, whole.checkpoint.size) == (0, 41, 41)
    part, found = check_certificate(certificate(tmp_path, replace(DECISIONS, since=timestamp(START + 3 * SECOND))), SIGNER.verifier)
    assert len(list(found)) == 17
    assert (part.start, part.end) == (7, 41)
    assert "server's word" in part.words[0]


def test_it_ends_at_its_checkpoint(tmp_path: Path) -> None:
    """Records that nothing signed yet speaks for are not in it."""
    certificate(tmp_path, DECISIONS)
    run(tmp_path, "DELETE FROM checkpoints WHERE size > 20")
    with closing(reader(tmp_path)) as source:
        size = int((source.latest_checkpoint() or "").split("\n")[1])
    lines = certificate(tmp_path, DECISIONS)
    assert (size, len(lines)) == (20, 21)
    assert checked(lines) == list(range(1, 20, 2))


def header(lines: Sequence[bytes], **changes: Any) -> list[bytes]:
    return [json.dumps({**json.loads(lines[0]), **changes}).encode() + b"\n", *lines[1:]]


def tampered(lines: list[bytes]) -> Iterator[list[bytes]]:
    told = json.loads(lines[0])
    yield lines[:-1]
    yield [*lines, lines[-1]]
    yield [*lines[:5], *lines[6:]]
    yield [*lines[:5], lines[5].replace(b'"low"', b'"high"').replace(b'"routed"', b'"failed"'), *lines[6:]]
    yield [*lines[:5], lines[6], lines[5], *lines[7:]]
    yield [*lines[:5], b"x" * 70_000 + b"\n", *lines[6:]]
    yield header(lines, start=told["start"] + 1)
    yield header(lines[:1] + lines[2:], start=told["start"] + 1)
    yield header(lines[:-1], end=told["end"] - 1)
    yield header(lines, end=10**9)
    yield header(lines, start=-1)
    yield header(lines, boundary=told["boundary"][1:])
    yield header(lines, boundary=[*told["boundary"], "00" * 32])
    yield header(lines, boundary=["00"])
    yield header(lines, boundary=None)
    yield header(lines, filters=[])
    yield header(lines, filters={"since": 5})
    yield header(lines, filters={"key_id": "5d"})
    yield header(lines, schema="other")
    yield header(lines, more=1)
    yield header(lines, checkpoint=told["checkpoint"].replace("\n41\n", "\n40\n"))
    yield header(lines, checkpoint="")
    yield header(lines, checkpoint=7)
    yield [b"no json\n", *lines[1:]]
    yield []


def test_nothing_can_be_changed_in_it(tmp_path: Path) -> None:
    """Left out, added, moved, altered, narrowed or relabelled: it does not hold."""
    query = replace(DECISIONS, since=timestamp(START + 3 * SECOND), until=timestamp(START + 12 * SECOND))
    lines = certificate(tmp_path, query)
    assert len(checked(lines)) == 9
    wrong = list(tampered(lines))
    assert len(wrong) == 25
    for number, each in enumerate(wrong):
        with pytest.raises(AuditError) as refused:
            checked(each)
        assert refused.value.code in ("certificate_wrong", "checkpoint_invalid"), number


LATE = numbered(30)
AMBIGUOUS = ambiguous(decision_entry(LATE, b"{}", KEY_ID, KEY).leaf)


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_leaf_that_can_be_read_in_two_ways_or_none_makes_no_answer_whole(tmp_path: Path, name: str) -> None:
    """It stands under the checkpoint, and who checks cannot say that it was not asked for. Where it is not among the records, all holds."""
    written(tmp_path, [*records(), Entry(AMBIGUOUS[name]), system_entry("stopped", LATE.decided_ns + SECOND)])
    for query in (DECISIONS, replace(DECISIONS, effect="deny"), Query(decision_id=LATE.id), Query()):
        with pytest.raises(AuditError, match=r"^Whether record 41 belongs to the answer cannot be told: .*\.$") as refused:
            checked(certificate(tmp_path, query))
        assert refused.value.code == "certificate_wrong"
    assert len(checked(certificate(tmp_path, replace(DECISIONS, until=timestamp(START + 9 * SECOND))))) == 9


def test_a_leaf_is_the_ledgers_before_it_is_blamed(tmp_path: Path) -> None:
    """Who altered a certificate is not told that the ledger cannot be read."""
    lines = certificate(tmp_path, DECISIONS)
    with pytest.raises(AuditError, match="not those that its checkpoint was signed for"):
        checked([*lines[:5], AMBIGUOUS["infinite"] + b"\n", *lines[6:]])


def test_another_key_and_another_checkpoint_are_refused(tmp_path: Path) -> None:
    """The certificate is held against what was kept elsewhere."""
    outside = written(tmp_path, records())
    lines = certificate(tmp_path, DECISIONS)
    assert len(checked(lines, outside=outside)) == 20
    other = NoteSigner("ledger.test", Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01"))
    with pytest.raises(AuditError, match="no signature by"):
        check_certificate(lines, other.verifier)
    with closing(reader(tmp_path)) as source:
        earlier = source.checkpoints()[0]
    with pytest.raises(AuditError, match="not for the checkpoint that was given"):
        checked(lines, outside=earlier)


@pytest.mark.parametrize("query", [Query(key_id=KEY_ID), replace(DECISIONS, result="routed"), Query(result="routed")])
def test_what_no_leaf_says_cannot_be_proven(tmp_path: Path, query: Query) -> None:
    """Whose it is, and what became of a decision later, stand elsewhere."""
    with pytest.raises(AuditError, match="is not said there"):
        certificate(tmp_path, query)


def test_without_a_checkpoint_there_is_no_certificate(tmp_path: Path) -> None:
    """Nothing signed, nothing proven."""
    written(tmp_path, records())
    run(tmp_path, "DELETE FROM checkpoints")
    with pytest.raises(AuditError, match="No checkpoint"):
        certificate(tmp_path, DECISIONS)


@given(st.integers(0, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size), st.integers(0, size))))
def test_every_run_of_every_tree_leads_to_its_root(drawn: tuple[int, int, int]) -> None:
    """And takes at most two hashes a level."""
    size, *ends = drawn
    start, end = sorted(ends)
    hashes = [leaf_hash(bytes([number])) for number in range(size)]
    subtree = lambda level, index: _root(hashes[index << level : (index + 1) << level])  # noqa: E731 - shorter so
    boundary = boundary_hashes(start, end, size, subtree)
    assert root_of_run(start, end, size, iter(boundary), iter(hashes[start:end])) == _root(hashes)
    assert len(boundary) <= 2 * max(1, size.bit_length())


def _root(hashes: Sequence[bytes]) -> bytes:
    tree = CompactRange()
    for hashed in hashes:
        tree.append(hashed)
    return tree.root()


def test_a_failed_outcome_is_found_by_itself(tmp_path: Path) -> None:
    """An outcome's result is its own."""
    decision = numbered(1)
    failed = outcome_entry(decision.id, Outcome(Result.FAILED, 502, "connect_failed"), START + SECOND)
    written(tmp_path, [decision_entry(decision, b"{}", KEY_ID, KEY), failed])
    with closing(reader(tmp_path)) as source, closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        assert catch_up(source, index) == 2
    assert checked(certificate(tmp_path, Query(kind="outcome", result="failed", reason="connect_failed"))) == [1]
