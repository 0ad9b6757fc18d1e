"""Witnesses without a disk or a network, and logs that grow, for tests of either side."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.checkpoint import Checkpoint, NoteSigner
from router.audit.cosignature import Cosigner
from router.audit.merkle import EMPTY_ROOT, CompactRange, consistency_proof, leaf_hash, node_hash
from router.audit.witness_desk import Seen, WitnessDesk
from router.audit.witness_protocol import request_body
from router.errors import AuditError

SECOND = 1_000_000_000
START_S = 1_700_000_000


@dataclass
class Clock:
    seconds: int = START_S

    def now_ns(self) -> int:
        return self.seconds * SECOND

    def monotonic_ns(self) -> int:
        return self.seconds * SECOND


@dataclass
class Memory:
    """A state without a disk. `failing` is what writing raises."""

    seen: dict[str, Seen] = field(default_factory=dict)
    failing: AuditError | None = None

    def last(self, origin: str) -> Seen | None:
        return self.seen.get(origin)

    def replace(self, origin: str, last: Seen | None, seen: Seen) -> None:
        if self.failing is not None:
            raise self.failing
        assert self.seen.get(origin) == last
        self.seen[origin] = seen


@dataclass
class Log:
    """A log of records `<word> 0`, `<word> 1`, …; two with the same name and different words are a fork."""

    word: str = "record"
    name: str = "ledger.example"
    seed: int = 0

    @property
    def signer(self) -> NoteSigner:
        return NoteSigner(self.name, Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32))

    def root(self, size: int) -> bytes:
        tree = CompactRange()
        for number in range(size):
            tree.append(leaf_hash(self._leaf(number)))
        return tree.root() if size else EMPTY_ROOT

    def note(self, size: int) -> str:
        return self.signer.sign(Checkpoint(self.name, size, self.root(size)).text())

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, self._subtree) if 0 < old <= new else []

    def request(self, old: int, new: int) -> bytes:
        return request_body(old, self.proof(old, new), self.note(new))

    def _leaf(self, number: int) -> bytes:
        return f"{self.word if number else 'first'} {number}".encode()

    def _subtree(self, level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(self._leaf(index))
        return node_hash(self._subtree(level - 1, 2 * index), self._subtree(level - 1, 2 * index + 1))


def cosigner(number: int = 1) -> Cosigner:
    return Cosigner(f"w{number}.example", Ed25519PrivateKey.from_private_bytes(bytes([100 + number]) * 32))


@dataclass
class Witness:
    number: int = 1
    log: Log = field(default_factory=Log)
    clock: Clock = field(default_factory=Clock)
    memory: Memory = field(default_factory=Memory)

    @property
    def desk(self) -> WitnessDesk:
        return WitnessDesk(cosigner(self.number), [self.log.signer.verifier], self.memory, self.clock)
