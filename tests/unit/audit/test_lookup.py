from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.ledger import SqliteStore
from router.audit.checking.lookup import certify_lookup, check_lookup, sought
from router.audit.journal import Checkpointing, Journal
from router.audit.lookups import upkeep
from router.audit.lookups.chain import EVENT
from router.audit.lookups.section import Section, summaries, write_section
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import KeyLookup
from router.audit.records.canonical import timestamp
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import note_checkpoint
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import SIGNER, run, verified
from tests.unit.audit.samples import ambiguous, numbered
from tests.unit.audit.sections import DAY, PEOPLE, SMALLEST, decided, indexed, levels, opened, sign_due

DECISIONS = 620
PERSON = "1".zfill(32)
FIRST_DAY = numbered(0).decided_ns // DAY * DAY


def days(first: int, end: int) -> dict[str, str]:
    return {"since": timestamp(FIRST_DAY + first * DAY), "until": timestamp(FIRST_DAY + end * DAY)}


QUERIES = [
    Query(decision_id=numbered(7).id),
    Query(decision_id=numbered(619).id),
    Query(decision_id="nobody's"),
    Query(decision_id=numbered(7).id, kind="outcome", result="routed"),
    Query(key_id=PERSON),
    Query(key_id=PERSON, kind="decision", intent="leave.request"),
    Query(key_id=PERSON, kind="decision", **days(2, 5)),
    Query(key_id="7" * 32),
    Query(kind="decision", intent="payment.cancel", **days(3, 4)),
    Query(kind="decision", intent="payment.cancel", **days(0, 31)),
    Query(kind="decision", intent="payment.cancel", risk="high", **days(0, 4)),
    Query(kind="decision", intent="nobody.asks", **days(0, 4)),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexed")
    indexed(folder, DECISIONS)
    return folder


def certificate(folder: Path, query: Query, keys: KeyLookup | None = None) -> list[bytes]:
    asked = sought(query)
    assert asked is not None
    with opened(folder) as sections:
        return list(certify_lookup(sections, asked, keys))


def checked(lines: Sequence[bytes], **more: Any) -> list[int]:
    _, found = check_lookup(lines, SIGNER.verifier, **more)
    return [record for record, _ in found]


def answered(folder: Path, query: Query) -> list[int]:
    with opened(folder) as sections:
        return [found.index for found in Trail(sections.reader, sections.index).find(query, newest=False)]


def test_the_ledger_has_sections_of_every_level(ledger: Path) -> None:
    """Else this file would show less than it says."""
    found = levels(ledger)
    assert set(found) == {0, 1, 2}
    assert found == sorted(found, reverse=True)
    assert len(found) < 2 * 16 + len([level for level in found if level == 2])


@pytest.mark.parametrize("query", QUERIES)
def test_who_checks_finds_what_the_server_answered(ledger: Path, query: Query) -> None:
    """About a person up to where the index reaches, about all else up to the checkpoint."""
    lines = certificate(ledger, query)
    end = json.loads(lines[0])["end"]
    assert checked(lines) == [record for record in answered(ledger, query) if record < end]


def test_a_person_s_certificate_ends_with_the_index(ledger: Path) -> None:
    """And says so."""
    told, found = check_lookup(certificate(ledger, Query(key_id=PERSON)), SIGNER.verifier)
    assert len(list(found)) > 200
    assert told.end < told.checkpoint.size
    assert f"Records from {told.end} on are in no section of the index yet." in told.words


def test_who_it_is_can_be_shown_and_is_checked(ledger: Path) -> None:
    """By the commitment in each decision; another name does not open it."""
    query = Query(key_id=PERSON, kind="decision")
    lines = certificate(ledger, query, PEOPLE.get)
    told, found = check_lookup(lines, SIGNER.verifier)
    assert list(found)
    assert any("Records that show a person show person-1." in words for words in told.words)
    renamed = [line.replace(b'"subject":"person-1"', b'"subject":"person-2"') for line in lines]
    with pytest.raises(AuditError, match="not about the person"):
        checked(renamed)


def test_it_is_small_beside_the_records_it_speaks_for(ledger: Path) -> None:
    """One decision out of all."""
    lines = certificate(ledger, Query(decision_id=numbered(7).id))
    with opened(ledger) as sections:
        everything = sum(len(stored.leaf) for stored in sections.reader.records(0, sections.reader.size()))
    assert sum(map(len, lines)) < everything / 10


def changed(lines: list[bytes], place: int, **changes: Any) -> list[bytes]:
    return [*lines[:place], json.dumps({**json.loads(lines[place]), **changes}).encode() + b"\n", *lines[place + 1 :]]


def rerun(lines: list[bytes], place: int, **changes: Any) -> list[bytes]:
    told = json.loads(lines[place])
    return changed(lines, place, runs=[{**told["runs"][0], **changes}])


def tampered(lines: list[bytes]) -> Iterator[list[bytes]]:
    """`lines` is the certificate of a decision that the first section knows, at the second line and two matches after it."""
    told, section, match = (json.loads(line) for line in lines[:3])
    found = section["runs"][0]
    yield lines[:-1]
    yield [*lines, lines[-1]]
    yield []
    yield changed(lines, 0, end=told["end"] - 1)
    yield changed(lines, 0, sections=told["sections"] - 1)
    yield [*changed(lines, 0, sections=told["sections"] - 1)[:1], *lines[4:]]
    yield changed(lines, 0, words=[["another"]])
    yield changed(lines, 0, words=[])
    yield changed(lines, 0, kind="subject")
    yield changed(lines, 0, kind="route")
    yield changed(lines, 0, filters=[])
    yield changed(lines, 0, filters={"key_id": "5d"})
    yield changed(lines, 0, boundary=told["boundary"][1:])
    yield changed(lines, 0, checkpoint=told["checkpoint"].replace(f"\n{note_checkpoint(told['checkpoint']).size}\n", "\n40\n"))
    yield changed(lines, 1, record=section["record"] + 1)
    yield changed(lines, 1, leaf=section["leaf"].replace('"level":2', '"level":1'))
    yield changed(lines, 1, inclusion=section["inclusion"][1:])
    yield changed(lines, 1, runs=[])
    yield [lines[0], *rerun(lines, 1, records=found["records"][1:])[1:2], *lines[3:]]
    yield [lines[0], *rerun(lines, 1, records=[])[1:2], *lines[4:]]
    yield [lines[0], *rerun(lines, 1, records=[], after=None)[1:2], *lines[4:]]
    yield rerun(lines, 1, records=[found["records"][0], found["records"][0] + 2])
    yield rerun(lines, 1, records=found["records"][::-1])
    yield rerun(lines, 1, before=found["after"], after=found["before"])
    yield rerun(lines, 1, before=None)
    yield rerun(lines, 1, after=None)
    yield rerun(lines, 1, first=found["first"] + 1)
    yield rerun(lines, 1, first=-1)
    yield rerun(lines, 1, boundary=[*found["boundary"], "00" * 32])
    yield rerun(lines, 1, boundary=None)
    yield changed(lines, 2, leaf=match["leaf"].replace("payment.", "payroll."))
    yield changed(lines, 2, inclusion=[])
    yield [*lines[:2], lines[3], lines[2], *lines[4:]]
    yield [*lines[:2], *lines[3:]]
    yield [*lines[:1], lines[4], *lines[1:4], *lines[5:]]
    yield [*lines[:-2], lines[-1], lines[-2]]


def test_nothing_can_be_changed_in_it(ledger: Path) -> None:
    """Left out, moved, altered or relabelled: it does not hold. First of all a record that is left out of the run of its key."""
    lines = certificate(ledger, Query(decision_id=numbered(7).id))
    assert checked(lines) == answered(ledger, Query(decision_id=numbered(7).id))
    wrong = list(tampered(lines))
    assert len(wrong) == 36
    for number, each in enumerate(wrong):
        with pytest.raises(AuditError) as refused:
            checked(each)
        assert refused.value.code in ("certificate_wrong", "checkpoint_invalid"), number


LATE = numbered(7)
AMBIGUOUS = ambiguous(decided(7)[0].leaf)
FOUND = ("schema twice", "order", "space", "fraction", "too long", "too deep", "later version", "no risk")
"""Those that say of which decision they are, so that the index has them under its id."""


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_no_section_covers_yet_is_read_or_the_answer_is_not_whole(tmp_path: Path, name: str) -> None:
    """A leaf that is JSON to some readers only could be what was asked for."""
    extended(tmp_path, AMBIGUOUS[name], sign=False)
    with pytest.raises(AuditError, match=r"^Whether record \d+ belongs to the answer cannot be told"):
        checked(certificate(tmp_path, Query(decision_id=LATE.id)))


@pytest.mark.parametrize("name", FOUND)
def test_what_the_index_names_is_read_or_the_answer_is_not_whole(tmp_path: Path, name: str) -> None:
    """Two readers of the same record could be told two things."""
    extended(tmp_path, AMBIGUOUS[name], sign=True)
    with pytest.raises(AuditError, match=r"^Whether record \d+ belongs to the answer cannot be told"):
        checked(certificate(tmp_path, Query(decision_id=LATE.id)))


def extended(folder: Path, leaf: bytes, *, sign: bool) -> None:
    """Nine decisions, and one more leaf in a section of its own, or after all sections."""
    indexed(folder, 9)
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 500))
    journal.open()
    journal.append([Entry(leaf)])
    if sign:
        sign_due(journal, folder, now=True)
    journal.close()


def test_a_checkpoint_from_elsewhere_must_be_its_own(ledger: Path) -> None:
    """Neither an older nor a newer one."""
    lines = certificate(ledger, Query(decision_id=numbered(7).id))
    with opened(ledger) as sections:
        notes = sections.reader.checkpoints()
    assert checked(lines, outside=notes[-1])
    with pytest.raises(AuditError, match="not for the checkpoint that was given"):
        checked(lines, outside=notes[0])


def test_files_of_sections_are_made_again(ledger: Path, tmp_path: Path) -> None:
    """Deleted, cut or overwritten: they are derived, and the certificate is the same."""
    copy = tmp_path / "copy"
    shutil.copytree(ledger, copy)
    query = Query(decision_id=numbered(300).id)
    lines = certificate(copy, query)
    files = sorted((copy / "sections").iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-5])
    files[2].write_bytes(b"")
    for path in files[3:]:
        content = bytearray(path.read_bytes())
        content[32:] = bytes(len(content) - 32)
        path.write_bytes(content)
    assert certificate(copy, query) == lines
    shutil.rmtree(copy / "sections")
    assert certificate(copy, query) == lines


def test_what_is_no_section_is_not_read_and_what_cannot_be_written_is_said(ledger: Path, tmp_path: Path) -> None:
    """Nothing is read out of a file of another form, and nobody goes on with half of one."""
    (tmp_path / "other").write_bytes(b"something else, and long enough to have a head".ljust(64))
    with pytest.raises(AuditError) as unreadable:
        Section(tmp_path / "other")
    with opened(ledger) as sections:
        lists = sections._lists(0, 4)
    (tmp_path / "file").touch()
    with pytest.raises(AuditError) as unwritable:
        write_section(tmp_path / "file" / "0-4", lists, summaries(lists))
    assert (unreadable.value.code, unwritable.value.code) == ("section_unreadable", "section_unwritable")


def test_an_index_that_is_not_of_the_records_is_not_served(tmp_path: Path) -> None:
    """Nor is it passed over in silence: verification names the section, and what a certificate would rest on is refused."""
    indexed(tmp_path, 40, sign=False)
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints", 3600, 500))
    journal.open()
    with opened(tmp_path) as sections:
        told = sections.next(16)
    assert told is not None
    told["trees"]["decision"]["root"] = "00" * 32
    shutil.rmtree(tmp_path / "sections")
    journal.append([system_entry("index_signed", 1_764_000_000_000_000_000, told)])
    journal.close()
    with pytest.raises(AuditError, match="is not theirs") as refused:
        certificate(tmp_path, Query(decision_id=numbered(7).id))
    assert refused.value.code == "section_differs"
    faults = verified(tmp_path).faults
    assert [(fault.kind, fault.index, fault.until) for fault in faults] == [("index_wrong", 80, None)]


def test_an_intact_index_is_verified(ledger: Path) -> None:
    """Every section that was ever signed, over every level."""
    assert verified(ledger).ok


def test_a_section_can_be_signed_before_it_is_full(tmp_path: Path) -> None:
    """So that what is asked for about a person reaches to the present."""
    indexed(tmp_path, 9)
    with opened(tmp_path) as sections:
        before = sections.chain()[-1].end
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints", 3600, 500))
    journal.open()
    assert sign_due(journal, tmp_path, now=True) >= 1
    journal.close()
    with opened(tmp_path) as sections:
        assert sections.chain()[-1].end > before
    person = list(PEOPLE)[2]
    assert checked(certificate(tmp_path, Query(key_id=person))) == answered(tmp_path, Query(key_id=person))


def test_what_is_due_right_after_is_found_without_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a busy moment many sections are due. They are the same, and the index is caught up with once."""
    indexed(tmp_path / "again", 150, sign=False)
    shutil.copytree(tmp_path / "again", tmp_path / "looked")
    looked = list[int]()

    def counted(*given: Any) -> int:
        looked.append(catch_up(*given))
        return looked[-1]

    monkeypatch.setattr(upkeep, "catch_up", counted)
    made, looks = dict[str, list[dict[str, Any]]](), dict[str, int]()
    for name in ("again", "looked"):
        looked.clear()
        made[name] = signed(tmp_path / name, again=name == "again")
        looks[name] = len(looked)
        assert verified(tmp_path / name).ok
    assert made["again"] == made["looked"]
    assert {each["level"] for each in made["again"]} == {0, 1}
    assert looks == {"again": 1, "looked": len(made["looked"]) + 1}


def signed(folder: Path, *, again: bool) -> list[dict[str, Any]]:
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 2**40))
    journal.open()
    made = list[dict[str, Any]]()
    with opened(folder) as sections:
        while (told := sections.next(SMALLEST, again=again and made != [])) is not None:
            made.append(told)
            journal.append([system_entry(EVENT, 1_764_000_000_000_000_000, told)])
    journal.sign_checkpoint()
    journal.close()
    return made


def test_without_a_signed_section_there_is_no_answer_about_a_person(tmp_path: Path) -> None:
    """No leaf says whose it is."""
    indexed(tmp_path, 3, sign=False)
    with pytest.raises(AuditError, match="sign-index") as refused:
        certificate(tmp_path, Query(key_id=PERSON))
    assert refused.value.code == "sections_missing"
    assert checked(certificate(tmp_path, Query(decision_id=numbered(1).id))) == [2, 3]


def test_only_sections_under_the_checkpoint_count(ledger: Path, tmp_path: Path) -> None:
    """One that was signed after it proves nothing yet."""
    copy = tmp_path / "copy"
    shutil.copytree(ledger, copy)
    with opened(ledger) as sections:
        size = note_checkpoint(sections.reader.checkpoints()[0]).size
    run(copy, f"DELETE FROM checkpoints WHERE size > {size}")
    query = Query(decision_id=numbered(7).id)
    lines = certificate(copy, query)
    assert json.loads(lines[0])["end"] == size
    assert checked(lines) == answered(copy, query)


@pytest.mark.parametrize(
    "query", [Query(key_id=PERSON, trace_id="a1" * 16, result="routed", kind="decision"), Query(key_id=PERSON, result="routed")]
)
def test_what_no_leaf_says_cannot_be_proven(ledger: Path, query: Query) -> None:
    """A decision's result stands in a later record."""
    with pytest.raises(AuditError, match="is not said there"):
        certificate(ledger, query)


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(intent="payment.cancel"),
        Query(intent="payment.cancel", since=timestamp(FIRST_DAY + 1), until=timestamp(FIRST_DAY + DAY)),
        Query(intent="payment.cancel", **days(0, 32)),
        replace(Query(**days(0, 2)), risk="high"),
    ],
)
def test_other_questions_are_none_for_the_index(query: Query) -> None:
    """They have certificates of another form."""
    assert sought(query) is None
