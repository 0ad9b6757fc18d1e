"""A ledger whose index is signed as it grows, for the tests of answers that prove that they are whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.lookups.chain import EVENT
from router.audit.lookups.upkeep import Sections
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.ports import Entry
from tests.unit.audit.ledgers import SIGNER, reader
from tests.unit.audit.samples import OUTCOME, numbered

SMALLEST = 4  # records of a section
DAY = 86_400_000_000_000
PEOPLE = {f"{number:032x}": bytes([number]) * 32 for number in range(1, 6)}
INTENTS = ("payment.cancel", "payment.approve", "leave.request")


def decided(number: int) -> list[Entry]:
    """A decision and its outcome; the people take turns, and so do the intents, 40 decisions a day."""
    made = numbered(number)
    moved = number // 40 * DAY - number * 1_000_000_000
    key_id, key = list(PEOPLE.items())[number % len(PEOPLE)]
    decision = replace(
        made,
        decided_ns=made.decided_ns + moved,
        classification=replace(made.classification, intent=INTENTS[number % len(INTENTS)]),
        request=replace(made.request, subject=replace(made.request.subject, id=f"person-{key_id[-1]}")),
    )
    return [decision_entry(decision, b"{}", key_id, key), outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, key_id, key)]


def indexed(folder: Path, decisions: int, *, sign: bool = True) -> None:
    """Sections are signed whenever one is due."""
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 500))
    journal.open()
    for number in range(decisions):
        journal.append(decided(number))
        if sign and number % 8 == 7:
            sign_due(journal, folder)
        if journal.until_checkpoint() == 0.0:
            journal.sign_checkpoint()
    journal.close()


def sign_due(journal: Journal, folder: Path, *, now: bool = False) -> int:
    """How many were."""
    with opened(folder) as sections:
        count = 0
        while (told := sections.next(SMALLEST, now=now)) is not None:
            journal.append([system_entry(EVENT, 1_764_000_000_000_000_000, told)])
            count, now = count + 1, False
        return count


@contextmanager
def opened(folder: Path) -> Iterator[Sections]:
    with closing(reader(folder)) as source, closing(SqliteIndex(folder / "index.sqlite")) as index:
        yield Sections(source, index, folder / "sections")


def levels(folder: Path) -> Sequence[int]:
    with opened(folder) as sections:
        return [section.level for section in sections.chain()]
