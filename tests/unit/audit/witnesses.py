"""Witnesses without a disk or a network, and logs that grow, for tests of either side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.tree.checkpoint import Checkpoint, NoteSigner
from router.audit.tree.merkle import EMPTY_ROOT, CompactRange, consistency_proof, leaf_hash, node_hash
from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.desk import Seen, WitnessDesk
from router.audit.witnesses.policy import WitnessPolicy, parse_policy
from router.audit.witnesses.protocol import request_body
from router.audit.witnesses.showing import Reply
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


@dataclass
class View:
    """A ledger as it lies on the disk: `size` records are signed for. `note` is what was stored last, with cosignatures; `failing` is what
    a proof raises."""

    log: Log = field(default_factory=Log)
    size: int = 0
    note: str | None = None
    failing: AuditError | None = None

    def grow(self, size: int) -> None:
        self.size, self.note = size, None

    async def newest(self) -> str | None:
        return self.note or (self.log.note(self.size) if self.size else None)

    async def prove(self, old: int, checkpoint: Checkpoint) -> Sequence[bytes]:
        if self.failing is not None:
            raise self.failing
        return self.log.proof(old, checkpoint.size)


@dataclass
class Calls:
    """Witnesses by the host of their URL: a desk, or whatever answers a body with a reply or an error."""

    answering: dict[str, Callable[[bytes], Reply] | WitnessDesk]
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def post(self, url: str, body: bytes) -> Reply:
        host = url.removeprefix("https://").partition("/")[0]
        assert url == f"https://{host}/add-checkpoint"
        self.asked.append((host, body))
        answering = self.answering[host]
        if isinstance(answering, WitnessDesk):
            answer = answering.add_checkpoint(body)
            return Reply(answer.status, answer.content_type, answer.body.encode())
        return answering(body)

    async def close(self) -> None: ...


def policy_of(quorum: str, *numbers: int) -> WitnessPolicy:
    """Witnesses `w1`, `w2`, … under URLs of the same names; `quorum` is all, any or a number of them."""
    lines = [f"witness w{number} {cosigner(number).verifier} https://w{number}" for number in numbers]
    members = " ".join(f"w{number}" for number in numbers)
    return parse_policy("".join(f"{line}\n" for line in [*lines, f"group g {quorum} {members}", "quorum g"]).encode(), "policy")
