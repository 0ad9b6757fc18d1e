"""What a witness's cosignature costs, by how many logs it remembers: its whole state is written anew, and synced, for each."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.witness_state_file import WitnessStateFile
from router.audit.tree.checkpoint import Checkpoint, NoteSigner
from router.audit.tree.merkle import CompactRange, consistency_proof, leaf_hash
from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.desk import WitnessDesk
from router.audit.witnesses.protocol import request_body
from router.system import SystemClock
from tests.bench.report import Figure, Report, median, percentile

LOGS = (1, 100, 1000)
ROUNDS = 100


def measure(report: Report, folder: Path) -> None:
    report.section("Witness — real state file, without HTTP", [figure for logs in LOGS for figure in _of(folder, logs)])


def _of(folder: Path, logs: int) -> list[Figure]:
    """All logs are shown once without a disk, then `ROUNDS` of them with one."""
    signers = [NoteSigner(f"cell{number}.example/ledger", Ed25519PrivateKey.generate()) for number in range(logs)]
    state = WitnessStateFile(folder / f"witness-{logs}.state", sync=lambda handle: None)
    state.open(new=True)
    desk = WitnessDesk(_cosigner(), [each.verifier for each in signers], state, SystemClock())
    for signer in signers:
        _shown(desk, signer, 0, 1)
    state.close()
    state = WitnessStateFile(folder / f"witness-{logs}.state")
    state.open(new=False)
    desk = WitnessDesk(_cosigner(), [each.verifier for each in signers], state, SystemClock())
    waits, cpu = [], time.process_time()
    for turn in range(ROUNDS):
        signer, size = signers[turn % logs], 1 + turn // logs
        began = time.perf_counter()
        _shown(desk, signer, size, size + 1)
        waits.append((time.perf_counter() - began) * 1000)
    cpu = (time.process_time() - cpu) / ROUNDS * 1000
    state.close()
    name = f"{logs} logs" if logs > 1 else "1 log"
    return [
        Figure(f"{name}, CPU a cosignature", cpu, "ms", None, None, "its log's own part included"),
        Figure(f"{name}, a cosignature", median(waits), "ms", None, None, f"p99 {percentile(waits, 0.99):.1f} ms; two syncs each"),
    ]


def _cosigner() -> Cosigner:
    return Cosigner("witness.example", Ed25519PrivateKey.generate())


def _shown(desk: WitnessDesk, signer: NoteSigner, old: int, new: int) -> None:
    hashes = [leaf_hash(str(number).encode()) for number in range(new)]
    note = signer.sign(Checkpoint(signer.name, new, _root(hashes)).text())
    proof = consistency_proof(old, new, lambda level, index: _root(hashes[index << level : (index + 1) << level])) if old else []
    answer = desk.add_checkpoint(request_body(old, proof, note))
    if answer.status != 200:
        raise ValueError(f"the witness answered with {answer.status}: {answer.body}")


def _root(hashes: list[bytes]) -> bytes:
    tree = CompactRange()
    for hashed in hashes:
        tree.append(hashed)
    return tree.root()
