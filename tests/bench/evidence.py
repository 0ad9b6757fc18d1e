"""How large a proof is, and what CPU time it takes, in a ledger of a million records: `python -m tests.bench.evidence [RECORDS]`."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import NoteSigner, note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.audit.tree.proof import prove_inclusion
from router.audit.tree.tlog_proof import proof_text
from router.ports import Entry

MILLION = 10**6
BATCH = 10_000
SAMPLES = 2000


def main(records: int = MILLION) -> None:
    signer = NoteSigner("ledger.example/audit", Ed25519PrivateKey.generate())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite"
        journal = Journal(SqliteStore(file), Checkpointing(signer, None, 1e9, 10**12))
        journal.open()
        for start in range(0, records, BATCH):
            journal.append([Entry(b'{"n":%d}' % number) for number in range(start, min(records, start + BATCH))])
        journal.close()
        with closing(SqliteReader(file, Stored)) as reader:
            measure(reader, records)


def measure(reader: SqliteReader, records: int) -> None:
    note = reader.latest_checkpoint() or ""
    made, checked, sizes = list[float](), list[float](), list[int]()
    for index in random.Random(1).sample(range(records), min(records, SAMPLES)):
        started = time.process_time()
        hashes = prove_inclusion(reader, index, records)
        text = proof_text(index, hashes, note)
        between = time.process_time()
        holds = verify_inclusion(leaf_hash(b'{"n":%d}' % index), index, records, hashes, note_checkpoint(note).root)
        checked.append(time.process_time() - between)
        made.append(between - started)
        sizes.append(len(text.encode()))
        if not holds:
            raise SystemExit(f"the proof of record {index} does not hold")
    print(f"{records} records: proofs of {min(sizes)} to {max(sizes)} bytes")
    for what, times in (("made from the file", made), ("checked, without the signature", checked)):
        p50, p99 = statistics.median(times) * 1e6, statistics.quantiles(times, n=100)[98] * 1e6
        print(f"{what}: p50 {p50:.0f} µs, p99 {p99:.0f} µs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
