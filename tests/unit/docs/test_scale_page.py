"""The page about scale says what the simulation says, and the proof across ledgers that it tells of is one."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.journal import Checkpointing
from router.audit.ledger import BATCH_RECORDS, AuditLedger
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, NoteVerifier
from router.audit.tree.merkle import CompactRange, inclusion_proof, leaf_hash, verify_inclusion
from router.config.evidence import CheckpointConfig
from router.config.witness import WitnessConfig
from tests.bench import scale, scale_model
from tests.unit.docs.pages import page

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def table(name: str) -> str:
    found = re.search(rf"<!-- table: {name} -->\n\n((?:\|.*\n)+)", page("scale.md"))
    assert found is not None
    return found[1].strip()


def numbers(text: str) -> list[float]:
    return [float(each.replace(",", "")) for each in NUMBER.findall(text)]


@pytest.mark.parametrize("name", scale.TABLES)
def test_tables_are_what_the_simulation_says(name: str) -> None:
    """Words are the same; numbers may differ by what another system's logarithm makes of the same seed."""
    told, found = table(name), scale.written(name)
    assert NUMBER.sub("#", told) == NUMBER.sub("#", found)
    assert numbers(told) == pytest.approx(numbers(found), rel=0.06, abs=1.0 if name in ("waits", "lost") else 0.05)


def test_limits_of_the_code_are_those_of_the_model() -> None:
    """What the model repeats, and the defaults that the page tells of."""
    waiting = AuditLedger.__init__.__defaults__
    assert waiting == (scale_model.WAITING_AT_MOST,)
    assert BATCH_RECORDS == 1024
    assert (Checkpointing.__dataclass_fields__["records"].default, CheckpointConfig().records) == (1000, 1000)
    assert (WitnessConfig.model_fields["rate"].default, WitnessConfig.model_fields["burst"].default) == (10.0, 50)
    told = page("scale.md")
    assert all(each in told for each in ("1,024 records", "8,192 records", "every 1,000 records", "10 calls a second"))


@pytest.mark.parametrize(
    ("told", "computed"),
    [
        ("125 such", scale.cells_for(1e6) - 1),
        ("126 ledgers", scale.cells_for(1e6)),
        ("657 TB a day at a million", 1e6 * scale.value("bytes") * 1000 * scale.DAY / 1e12),
        ("61 MB/s of records at 8,000", scale.RATE * scale.value("bytes") / 1000),
        ("5.3 TB a day", scale.RATE * scale.value("bytes") * 1000 * scale.DAY / 1e12),
        ("1.54 ms without the sync", (scale.value("commit") + 64 * scale.value("record")) / 1000),
        ("1.53 ms with it", 64 / scale.value("sqlite") * 1000),
        ("5,900 decisions, a second", scale.value("index") / 4),
        ("percentile of a commit is 16 ms", scale.cell(scale.RATE).wait(0.99, scale.SETTLED)),
        ("it would be 6 ms", scale.cell(scale.RATE, copies_log=False).wait(0.99, scale.SETTLED)),
        ("with workers at 55 %", scale.cell(scale.RATE).workers_s / scale.SECONDS / scale.WORKERS * 100),
        ("half as much again: 70 % busy", scale.cell(scale.RATE * 1.5).workers_s / scale.SECONDS / scale.WORKERS * 100),
        ("Take 169 cells", 2e6 / (scale.value("index") / 2)),
        ("48 that the README's figure", 2e6 / scale.value("sqlite")),
        ("on PostgreSQL 223", 2e6 / scale.value("postgres")),
        ("16 a second in such a cell", 2 * scale.RATE / 1000),
        ("0.04 for a core-hour", scale.PRICES["core"]),
        ("0.02 for a GB-month", scale.PRICES["disk"]),
        ("0.01 for a GB carried", scale.PRICES["network"]),
        ("at 4,500 decisions a second", scale.value("postgres") / 2),
        ("31 hashes", (2 * scale.RATE * scale.DAY).bit_length()),
        ("21 hashes", int(2e6 / scale.CHECKPOINT * scale.DAY).bit_length()),
    ],
)
def test_sentences_say_what_follows(told: str, computed: float) -> None:
    """Numbers in the text follow from the same parameters."""
    assert told in " ".join(page("scale.md").split())
    assert numbers(told)[0] == pytest.approx(computed, rel=0.06)


def test_every_parameter_has_a_section_that_measures_it() -> None:
    """Whoever wants figures of their own can measure each."""
    sections = (scale.PAGE.parents[1] / "tests" / "bench" / "__main__.py").read_text(encoding="utf-8")
    assert [each.what for each in scale.MEASURED.values() if f'"{each.section}": lambda' not in sections] == []


def test_the_model_gets_slower_with_its_disk_and_its_load() -> None:
    """A model in which these did not matter would be none."""
    fast, slow = (scale.cell(scale.RATE, disk).wait(0.5) for disk in (scale.DISKS["0.1 / 0.5 ms"], scale.DISKS["4 / 20 ms"]))
    assert fast < slow
    assert scale.cell(4_000).batch < scale.cell(16_000).batch
    assert scale.cell(4_000).control_s < scale.cell(16_000).control_s


class Tree:
    """All leaves of a log, for a test that needs few."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves

    def root(self) -> bytes:
        return self._root(0, len(self.leaves))

    def proof(self, index: int) -> list[bytes]:
        return inclusion_proof(index, len(self.leaves), lambda level, at: self._root(at << level, (at + 1) << level))

    def _root(self, start: int, end: int) -> bytes:
        tree = CompactRange()
        for leaf in self.leaves[start:end]:
            tree.append(leaf_hash(leaf))
        return tree.root()


def included(record: bytes, cell: Tree, at: int, note: str, verifier: str, top: Tree, place: int, root: bytes) -> bool:
    """The page's steps: the record in the cell's tree, the cell's checkpoint by its key, and that as a leaf of the top log."""
    checkpoint = NoteVerifier(verifier).open_checkpoint(note)
    if not verify_inclusion(leaf_hash(record), at, checkpoint.size, cell.proof(at), checkpoint.root):
        return False
    return verify_inclusion(leaf_hash(note.encode()), place, len(top.leaves), top.proof(place), root)


def test_a_record_is_proved_by_a_top_log_of_checkpoints() -> None:
    """With what there is: and not with another cell's checkpoint, another record, or a checkpoint that was not taken."""
    cells = [Tree([f'{{"cell":{cell},"record":{number}}}'.encode() for number in range(5 + cell)]) for cell in range(3)]
    signers = [NoteSigner(f"cell{number}.example/ledger", Ed25519PrivateKey.generate()) for number in range(3)]
    notes = [
        signer.sign(Checkpoint(signer.name, len(cell.leaves), cell.root()).text()) for signer, cell in zip(signers, cells, strict=True)
    ]
    top = Tree([note.encode() for note in notes])
    record, root = cells[1].leaves[3], top.root()
    assert included(record, cells[1], 3, notes[1], signers[1].verifier, top, 1, root)
    assert not included(record, cells[1], 3, notes[2], signers[2].verifier, top, 2, root)
    assert not included(cells[0].leaves[3], cells[1], 3, notes[1], signers[1].verifier, top, 1, root)
    forked = signers[1].sign(Checkpoint(signers[1].name, len(cells[1].leaves), cells[1].root()).text() + "other\n")
    assert not included(record, cells[1], 3, forked, signers[1].verifier, top, 1, root)
