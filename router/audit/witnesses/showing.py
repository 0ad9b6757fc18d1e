"""Showing the ledger's checkpoints to witnesses: C2SP `tlog-witness` from the log's side.

At the start, before anything is signed, every witness is asked where it last saw this ledger. One that saw more, or another history, ends
the start: the ledger here is an old copy, or somebody signed beside it. Afterwards the newest checkpoint is brought to everybody, in a task
of its own: no record ever waits for a witness.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from router.audit.tree.checkpoint import Checkpoint, NoteSigner, note_checkpoint, split_note
from router.audit.tree.merkle import EMPTY_ROOT
from router.audit.witnesses.cosignature import Cosignature
from router.audit.witnesses.policy import PolicyWitness, Witnessed, WitnessPolicy, reachable, shown
from router.audit.witnesses.protocol import ADD_CHECKPOINT, MOST_SIGNATURES, parse_size, request_body
from router.errors import AuditError
from router.ports import Clock

log = logging.getLogger("lockgate.audit")
SECOND = 1_000_000_000
AHEAD_S = 300
"""By how much a witness's clock may be ahead of ours."""
PAUSE_S = 1.0
AGAIN_S = 10.0
FIRST_BACKOFF_S, MOST_BACKOFF_S = 1.0, 300.0
ROLLED_BACK, FORKED, UNREACHABLE = "audit_rolled_back", "audit_forked", "audit_witness_unreachable"
CONTRADICTIONS = (ROLLED_BACK, FORKED)
OVERTAKEN = "witness_overtaken"
MEANWHILE = "Another process of this ledger showed it a newer checkpoint meanwhile."
OVERTAKEN_AT_MOST = 5
QUESTIONS = 5
"""Of one exchange with a witness that knows another size each time."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content_type: str
    body: bytes


class WitnessCalls(Protocol):
    async def post(self, url: str, body: bytes) -> Reply:
        """Bounded in time and size. Raises AuditError `witness_unreachable`, `witness_late`, `witness_answer_too_large`."""

    async def close(self) -> None: ...


class LedgerView(Protocol):
    """The ledger as it lies on the disk. Raises AuditError."""

    async def newest(self) -> str | None:
        """The signed note of the largest tree."""

    async def prove(self, old: int, checkpoint: Checkpoint) -> Sequence[bytes]:
        """Consistency of the tree of `old` records, at least 1, with the checkpoint's. Raises AuditError `audit_tree_broken` where what is
        stored does not lead there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the witnesses said about one checkpoint, by the policy's names. `cosignatures` has also those from before; who is in `now` said
    so when asked."""

    note: str
    checkpoint: Checkpoint
    cosignatures: Mapping[str, Cosignature]
    now: frozenset[str]
    failures: Mapping[str, AuditError]


@dataclass(slots=True)
class _Standing:
    """What is known of a witness: the size that it knows, why it failed last, and when it is asked again (monotonic seconds)."""

    known: int | None = None
    failure: str = ""
    backoff: float = FIRST_BACKOFF_S
    again: float = 0.0


@dataclass(slots=True)
class Witnessing:
    """`keep` stores a note with cosignatures, and says whether a quorum's are among them. `renew`: after how many seconds the same
    checkpoint is shown again, so that it can be told as of when it was the largest. `cosigned` are the largest sizes that each cosigned,
    as far as is known here."""

    policy: WitnessPolicy
    view: LedgerView
    calls: WitnessCalls
    signer: NoteSigner
    clock: Clock
    keep: Callable[[str, bool], Awaitable[None]]
    renew: float = 3600.0
    witnessed: tuple[int, Witnessed] | None = None
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    cosigned: dict[str, int] = field(default_factory=dict)
    _standings: dict[str, _Standing] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _renewal: float = 0.0

    async def agree(self) -> Asked:
        """Asks everybody about what was signed last. Only who answers `now` may count for a start: an old copy of a ledger has old
        cosignatures. Raises AuditError `audit_rolled_back` or `audit_forked` where a witness contradicts it, and whatever is wrong with the
        ledger itself."""
        asked = await self._ask(await self._newest())
        for _ in range(OVERTAKEN_AT_MOST):
            if not any(error.code == OVERTAKEN for error in asked.failures.values()):
                break
            asked = await self._ask(await self._newest())
        for name, error in asked.failures.items():
            if error.code in CONTRADICTIONS:
                raise AuditError(f"Witness {shown(name)} contradicts this ledger ({error.code}): {error}", error.code)
            if not error.code.startswith("witness_"):
                raise error
        self._confirmed(asked)
        return asked

    async def run(self) -> None:
        """Until it is cancelled. Whatever fails is said in log and figures, and tried again."""
        while True:
            try:
                await self._round()
            except AuditError as error:
                log.error("the newest checkpoint is not shown to witnesses: %s", error)
                self._renewal = self._now() + AGAIN_S
            except Exception:  # nothing that a witness answers may end the witnessing
                log.exception("showing a checkpoint to witnesses failed in a way that nobody foresaw")
                self._renewal = self._now() + AGAIN_S
            await asyncio.sleep(PAUSE_S)
            await self._until_due()

    def wake(self) -> None:
        """There is a newer checkpoint. On the loop's own thread."""
        self._woken.set()

    def remembered(self, note: str) -> None:
        """What was confirmed before this process began."""
        asked = Asked(note, note_checkpoint(note), self.policy.cosignatures(note), frozenset(), {})
        self.cosigned.update(dict.fromkeys(asked.cosignatures, asked.checkpoint.size))
        self._confirmed(asked)

    async def keep_asked(self, asked: Asked) -> None:
        """Stores what came of a question, if anything came of it."""
        if asked.checkpoint.size and asked.cosignatures:
            await self.keep(cosigned_note(asked.note, self.policy, asked.cosignatures), self.policy.met(asked.cosignatures.keys()))

    def forgot(self, witness: PolicyWitness, size: int) -> None:
        """It is asked on: what it signs from now on is no worse than a new witness's. But somebody should know."""
        before, reason = self.cosigned.get(witness.name, 0), "witness_forgot"
        if size >= before:
            return
        self.failures[witness.name, reason] += 1
        self.cosigned[witness.name] = size
        log.error("witness %s forgot: it cosigned %d records and knows %d; was an old state put back?", shown(witness.name), before, size)

    def until_renewal(self, cosignature: Cosignature) -> float:
        return cosignature.at + self.renew - self.clock.now_ns() / SECOND

    async def _newest(self) -> str:
        """A ledger that signed nothing yet has a tree of no records to show: that of every ledger's beginning."""
        note = await self.view.newest()
        return note if note is not None else self.signer.sign(Checkpoint(self.signer.name, 0, EMPTY_ROOT).text())

    async def _round(self) -> None:
        self._woken.clear()
        note = await self.view.newest()
        if note is None:  # the tree of nothing was shown at the start
            self._renewal = self._now() + self.renew
            return
        asked = await self._ask(note, due=self._due(note))
        if asked.cosignatures != self.policy.cosignatures(note):
            await self.keep_asked(asked)
        self._confirmed(asked)
        sound = [each for name, each in asked.cosignatures.items() if name not in asked.failures]
        self._renewal = self._now() + min((self.until_renewal(each) for each in sound), default=self.renew)

    def _due(self, note: str) -> list[PolicyWitness]:
        signed, now = self.policy.cosignatures(note), self._now()
        return [
            witness
            for witness in reachable(self.policy)
            if self._standing(witness).again <= now and (witness.name not in signed or self.until_renewal(signed[witness.name]) <= 0)
        ]

    async def _until_due(self) -> None:
        """Until there is a newer checkpoint, a witness that failed may be asked again, or a cosignature is to be renewed."""
        now = self._now()
        waits = [max(0.0, standing.again - now) for standing in self._standings.values() if standing.failure]
        try:
            async with asyncio.timeout(min([max(0.0, self._renewal - now), *waits])):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _ask(self, note: str, due: Sequence[PolicyWitness] | None = None) -> Asked:
        checkpoint, already = note_checkpoint(note), self.policy.cosignatures(note)
        witnesses = [*reachable(self.policy)] if due is None else due
        answers = await asyncio.gather(*(self._one(witness, note, checkpoint) for witness in witnesses))
        found = {witness.name: answer for witness, answer in zip(witnesses, answers, strict=True)}
        new = {name: answer for name, answer in found.items() if isinstance(answer, Cosignature)}
        failed = {name: answer for name, answer in found.items() if isinstance(answer, AuditError)}
        return Asked(note, checkpoint, {**already, **new}, frozenset(new), failed)

    async def _one(self, witness: PolicyWitness, note: str, checkpoint: Checkpoint) -> Cosignature | AuditError:
        standing = self._standing(witness)
        try:
            cosignature = await Exchange(self, witness, note, checkpoint, standing.known).cosignature()
        except AuditError as error:
            said = error if error.code != ROLLED_BACK or not await self._overtaken(checkpoint) else AuditError(MEANWHILE, OVERTAKEN)
            self._failed(witness, standing, said)
            return said
        if standing.failure:
            log.info("witness %s cosigns again", shown(witness.name))
        self._standings[witness.name] = _Standing(known=checkpoint.size)
        self.cosigned[witness.name] = max(checkpoint.size, self.cosigned.get(witness.name, 0))
        return cosignature

    async def _overtaken(self, checkpoint: Checkpoint) -> bool:
        """Whether there is a newer one by now: where several processes write one ledger, another may have shown it already. It was stored
        before it was shown, so that a witness who then still knows more has seen what is not here."""
        newest = await self.view.newest()
        return newest is not None and note_checkpoint(newest).size > checkpoint.size

    def _failed(self, witness: PolicyWitness, standing: _Standing, error: AuditError) -> None:
        """Each new reason is logged once; how often it came is in the figures."""
        self.failures[witness.name, error.code] += 1
        if standing.failure != error.code:
            level = logging.ERROR if error.code in CONTRADICTIONS else logging.WARNING
            log.log(level, "witness %s does not cosign (%s): %s", shown(witness.name), error.code, error)
        again = self._now() + standing.backoff
        self._standings[witness.name] = _Standing(None, error.code, min(MOST_BACKOFF_S, standing.backoff * 2), again)

    def _confirmed(self, asked: Asked) -> None:
        witnessed = self.policy.witnessed(asked.cosignatures)
        if witnessed is not None and (self.witnessed is None or self.witnessed[0] <= asked.checkpoint.size):
            self.witnessed = asked.checkpoint.size, witnessed

    def _standing(self, witness: PolicyWitness) -> _Standing:
        return self._standings.get(witness.name, _Standing())

    def _now(self) -> float:
        return self.clock.monotonic_ns() / SECOND


@dataclass(frozen=True, slots=True)
class Exchange:
    """One checkpoint and one witness: a question, and further ones where the last told that another size is known, which it may be again by
    the next, for other nodes show it theirs meanwhile."""

    witnessing: Witnessing
    witness: PolicyWitness
    note: str
    checkpoint: Checkpoint
    known: int | None

    async def cosignature(self) -> Cosignature:
        """Raises AuditError with a named reason."""
        old = self.checkpoint.size if self.known is None else min(self.known, self.checkpoint.size)
        for left in reversed(range(QUESTIONS)):
            reply = await self._post(old)
            size = parse_size(reply.content_type, reply.body) if reply.status == 409 else None
            if size is None or size == old or not left:
                break
            self._not_ahead(size)
            self.witnessing.forgot(self.witness, size)
            old = size
        return self._judged(reply, old)

    async def _post(self, old: int) -> Reply:
        proof = await self.witnessing.view.prove(old, self.checkpoint) if 0 < old < self.checkpoint.size else ()
        url = (self.witness.url or "").rstrip("/") + ADD_CHECKPOINT
        return await self.witnessing.calls.post(url, request_body(old, proof, self.note))

    def _not_ahead(self, size: int) -> None:
        if size > self.checkpoint.size:
            sentence = f"It saw a checkpoint of {size} records, but the newest that was signed here is of {self.checkpoint.size}."
            raise AuditError(sentence, ROLLED_BACK)

    def _judged(self, reply: Reply, old: int) -> Cosignature:
        """Our proofs were checked before they were sent, so that a witness which finds one wrong has seen another history."""
        if reply.status == 200:
            return self._opened(reply.body)
        if reply.status == 409:
            raise self._conflict(reply, old)
        if reply.status == 422 and old > 0:
            raise self._forked(old)
        if reply.status == 400:
            raise AuditError("It finds the request malformed.", "witness_refused")
        if reply.status == 403:
            raise AuditError("It does not trust the key that signed the checkpoint.", "witness_key_refused")
        if reply.status == 404:
            raise AuditError("It does not know a ledger of this name, or is not reached under this URL.", "witness_log_refused")
        if reply.status == 429:
            raise AuditError("It is asked too often.", "witness_busy")
        if reply.status >= 500:
            raise AuditError(f"It failed with {reply.status}.", "witness_failed")
        raise AuditError(f"It answered with {reply.status}, which means nothing here.", "witness_answer_malformed")

    def _conflict(self, reply: Reply, old: int) -> AuditError:
        """Without another size, about the size that we have ourselves, it is the specified answer to another root."""
        size = parse_size(reply.content_type, reply.body)
        if size is not None:
            self._not_ahead(size)
        if size in (None, old) and old == self.checkpoint.size > 0:
            return self._forked(old)
        return AuditError("It is not of one mind about the size that it knows.", "witness_conflict")

    def _forked(self, old: int) -> AuditError:
        return AuditError(f"It saw another history of the first {old} records, signed with this ledger's key.", FORKED)

    def _opened(self, body: bytes) -> Cosignature:
        """Lines by other keys are passed over, as the specification says; one by the right key must be right."""
        lines = _lines(body)
        text, _ = split_note(self.note)
        try:
            found = self.witness.verifier.find(f"{text}\n{lines}")
        except AuditError as error:
            raise AuditError(f"Its answer does not open: {error}", "witness_cosignature_wrong") from error
        if found is None:
            raise AuditError(f"Its answer has no cosignature by {self.witness.verifier.name}.", "witness_cosignature_missing")
        if found.at > self.witnessing.clock.now_ns() // SECOND + AHEAD_S:
            raise AuditError("Its clock is ahead, or ours is behind.", "witness_clock_ahead")
        return found


def _lines(body: bytes) -> str:
    try:
        lines = body.decode()
    except UnicodeDecodeError:
        lines = ""
    if not lines.endswith("\n") or "\n\n" in lines or not lines.startswith("—") or lines.count("\n") > MOST_SIGNATURES:
        raise AuditError("Its answer is not a sequence of signature lines.", "witness_answer_malformed")
    return lines


def cosigned_note(note: str, policy: WitnessPolicy, cosignatures: Mapping[str, Cosignature]) -> str:
    """The note with these cosignatures, in the place of older ones by the same witnesses; all other lines stay."""
    text, lines = split_note(note)
    replaced = {
        (cosignatures[witness.name].name, cosignatures[witness.name].key_id) for witness in policy.witnesses if witness.name in cosignatures
    }
    kept = [f"— {name} {b64encode(signature).decode()}\n" for name, signature in lines if (name, signature[:4]) not in replaced]
    added = [cosignatures[witness.name].line for witness in policy.witnesses if witness.name in cosignatures]
    return f"{text}\n{''.join([*kept, *added])}"
