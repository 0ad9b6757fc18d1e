"""Verification of a whole ledger, from nothing but its bytes and, best, a checkpoint that was kept elsewhere.

1. Every record: in place, canonical, of a known schema, as its stored leaf hash says, its sealed part as its leaf says (`chunk`).
2. The tree over what the records really are: held against the last commit, every checkpoint in the file and the one from outside.
3. What is missing must be said to be: a personal part by a record that it was pruned, a key by one that it was erased, each of them
   under a signed checkpoint; and what is said to be gone must be (`accounting`). What goes meanwhile may be said later (`meanwhile`).
4. The index of keys that was signed is theirs (`sections`).
5. The hashes that are stored above the leaves are theirs (`above`).
6. The index that answers come from, where there is one beside the ledger, is what is made of the records.
7. Where a root is wrong and no single record gave itself away, the commits in between tell in which one the first difference lies.

Only a signature is worth anything against somebody who can write to the file: he can make everything else agree. So a ledger is `ok`
relative to the checkpoints it was held against, and `unproven` says in plain words what that leaves open.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from router.audit.checking.above import wrong_above
from router.audit.checking.accounting import Account
from router.audit.checking.chunk import Chunk, Fault, OpenKeys, OpenReader, Predecessor, check_chunk, node_fault
from router.audit.checking.meanwhile import Later, unexcused
from router.audit.checking.sections import check_sections, together
from router.audit.checking.witnessed import Confirmed, confirmed, cosigned_by_anybody
from router.audit.keys.succession import NOT_IN_FORCE, NOT_VOUCHED, Rotation, Succession, Term
from router.audit.lookups.chain import Signed
from router.audit.questions.reader import Difference, LedgerReader
from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint
from router.audit.tree.merkle import CompactRange
from router.audit.witnesses.policy import WitnessPolicy
from router.errors import AuditError

_BESIDE = frozenset(("checkpoint_invalid", "key_not_in_force", "key_not_vouched", "origin_wrong", "node_altered", "order_malformed")) | {
    *("sealed_missing", "pruned_present", "held_pruned", "sealed_unreadable", "commitment_wrong"),
    *("key_missing", "erased_present", "held_erased", "sealed_after_erasure"),
}
"""Findings beside which the records are those that were written."""
_HISTORIES = ("root_wrong", "history_forked")
CHUNK = 8192
PARALLEL_FROM = 4 * CHUNK

Progress = Callable[[int, int], None]
Answers = Callable[[LedgerReader], Difference | None]
"""The first difference of the index beside the ledger from its records, if there is one. Raises AuditError where it cannot be told."""


@dataclass(slots=True)
class Report:
    """`held_against` are the sizes of the signed checkpoints that agree with the records; `opened`, `erased` and `pruned` count sealed
    parts; `terms` are the keys in the order in which they were in force, none where there was only one; `witnessed` are the trees that a
    quorum confirmed, smallest first; `cosigned` says whether there are cosignatures, checked or not; `sections` are those of the index."""

    origin: str
    size: int
    root: bytes = b""
    faults: list[Fault] = field(default_factory=list)
    held_against: list[int] = field(default_factory=list)
    outside: int | None = None
    opened: int = 0
    erased: int = 0
    pruned: int = 0
    witnessed: list[Confirmed] = field(default_factory=list)
    cosigned: bool = False
    unproven: list[str] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    rotations: list[Rotation] = field(default_factory=list)
    predecessor: Predecessor | None = None
    sections: list[Signed] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def first_bad(self) -> Fault | None:
        """A single record that gave itself away, if one lies before the end of the narrowest range that must hold a bad one."""
        exact = min((fault for fault in self.faults if fault.until is None), key=lambda fault: fault.index, default=None)
        within = min((fault for fault in self.faults if fault.until is not None), key=lambda fault: fault.until or 0, default=None)
        if exact is None or within is None:
            return exact or within
        return exact if exact.index < (within.until or 0) else within


@dataclass(frozen=True, slots=True)
class Plan:
    """`outside` is a note kept elsewhere, `verifier` the ledger's public key (`name+keyid+base64`), from elsewhere too; `more_keys` are
    others of the same ledger that are trusted as well. Each leads to those that it handed over to, and to those that handed over to it.
    `beside` are the notes in the directory of checkpoints, or why one cannot be read: worth no more than those in the file, but they do
    not come back with a backup of it, and may lie where nobody can change them."""

    open_reader: OpenReader
    verifier: str | None = None
    outside: str | None = None
    open_keys: OpenKeys | None = None
    beside: Callable[[], Iterable[str | AuditError]] = tuple
    processes: int | None = None
    progress: Progress | None = None
    more_keys: tuple[str, ...] = ()
    policy: WitnessPolicy | None = None
    answers: Answers | None = None

    @property
    def trusted(self) -> tuple[str, ...]:
        return () if self.verifier is None else (self.verifier, *self.more_keys)


def verify(plan: Plan) -> Report:
    """Raises AuditError when there is nothing to verify or the outside checkpoint or key is itself unusable."""
    for key in plan.trusted:
        NoteVerifier(key)  # a slip in it is said now, and not after an hour
    reader = plan.open_reader()
    try:
        # Before the last commit, which then covers them all, though the ledger may be growing.
        notes, unread = _notes(reader, plan)
        size, root = reader.last_commit()
        report = Report(reader.origin(), size)
        if (damage := reader.damage()) is not None:
            report.faults.append(Fault(0, "file_damaged", damage))
        report.faults.extend(_note_fault(report, error) for error in unread)
        outside = None if plan.outside is None else note_checkpoint(plan.outside)
        notes = _legible(report, notes)
        claims = [note_checkpoint(note) for note in notes]
        account = Account()
        roots, tree = _check_records(plan, report, {claim.size for claim in (*claims, *([outside] if outside else []))}, account)
        if not any(fault.kind == "file_damaged" for fault in report.faults):  # else there is nothing to ask any more
            _check_commit(report, reader, root)
        if _stand(report):
            report.faults.extend(node_fault(*wrong) for wrong in wrong_above(reader, report.size))
        rotations = report.rotations
        keys = _keys(report, plan, notes)
        _check_claims(report, roots, _claims(report, notes, keys), signed=keys is not None)
        if keys is not None and plan.outside is not None:
            keys.check(plan.outside)
        if outside is not None:
            _check_outside(report, roots, outside)
        _check_account(plan, report, account, reader, _later(report, plan, reader, account, tree, notes, rotations))
        if _stand(report):  # what is said of records that are altered themselves is of no interest
            report.faults.extend(_index_faults(plan, report))
            if plan.answers is not None:
                _check_answers(report, plan.answers, reader)
        _check_witnessed(report, plan, notes)
        _narrow(report, reader, plan)
        report.unproven += _unproven(report, plan)
        return report
    finally:
        reader.close()


def _notes(reader: LedgerReader, plan: Plan) -> tuple[list[str], list[AuditError]]:
    """Those in the file, and those beside it that say something else; and why others cannot be read."""
    notes, unread = dict.fromkeys(reader.checkpoints()), list[AuditError]()
    for each in plan.beside():
        if isinstance(each, AuditError):
            unread.append(each)
        else:
            notes[each] = None
    return list(notes), unread


def _legible(report: Report, notes: Iterable[str]) -> list[str]:
    """A checkpoint in the file or beside it that cannot be read was tampered with and is a fault of its own."""
    legible = []
    for note in notes:
        try:
            note_checkpoint(note)
            legible.append(note)
        except AuditError as error:
            report.faults.append(_note_fault(report, error))
    return legible


def _keys(report: Report, plan: Plan, notes: Sequence[str]) -> Succession | None:
    """Who had to sign, as the records have it; None when no key is given."""
    if not plan.trusted:
        return None
    keys = Succession(plan.trusted, report.rotations, [*notes, *([plan.outside] if plan.outside else [])])
    report.terms, report.rotations = keys.terms, keys.done
    return keys


def _later(
    report: Report,
    plan: Plan,
    reader: LedgerReader,
    account: Account,
    tree: CompactRange | None,
    notes: Sequence[str],
    rotations: Sequence[Rotation],
) -> Later | None:
    """`rotations` are all that the records name, carried out or not."""
    if tree is None:
        return None
    signed = _signed_up_to(report)
    pending = [order for order in account.orders if order[0] >= signed]
    open_still = [one for one in rotations if one.index >= signed]
    check = lambda note, handing, since: _signed(report, plan, [*notes, *handing, note], note, since)  # noqa: E731  # one line, once
    return Later(reader, tree, check, signed, pending, open_still)


def _signed_up_to(report: Report) -> int:
    return max([*report.held_against, report.outside or 0], default=0)


def _signed(report: Report, plan: Plan, notes: Sequence[str], note: str, since: Sequence[Rotation]) -> Checkpoint:
    """A checkpoint that was signed meanwhile, over records that are not verified here but for what they excuse. Raises AuditError."""
    if not plan.trusted:
        return note_checkpoint(note)
    return Succession(plan.trusted, [*report.rotations, *since], notes).check(note)


def _claims(report: Report, notes: Sequence[str], keys: Succession | None) -> list[Checkpoint]:
    """The checkpoints in the file that are signed as they have to be. One that is not is a fault."""
    claims, told = list[Checkpoint](), set[str]()
    for note in notes:
        try:
            claims.append(keys.check(note) if keys else note_checkpoint(note))
        except AuditError as error:
            if error.code not in (NOT_VOUCHED, NOT_IN_FORCE) or error.code not in told:  # those that follow say the same
                report.faults.append(_note_fault(report, error))
            told.add(error.code)
    return claims


def _note_fault(report: Report, error: AuditError) -> Fault:
    if error.code == NOT_VOUCHED:
        return Fault(report.size, "key_not_vouched", str(error))
    if error.code == NOT_IN_FORCE:
        return Fault(report.size, "key_not_in_force", str(error))
    return Fault(report.size, "checkpoint_invalid", f"A checkpoint in the ledger or beside it: {error}")


def _check_records(plan: Plan, report: Report, sizes: set[int], account: Account) -> tuple[dict[int, bytes], CompactRange | None]:
    """Checks every record and returns the roots of the recomputed tree at the given sizes, as far as records go without a hole; and the
    tree, where there is none."""
    tree, roots, whole = CompactRange(), dict[int, bytes](), True
    for chunk in _chunks(plan, report.size):
        report.faults.extend(chunk.faults)
        report.rotations.extend(chunk.rotations)
        report.sections.extend(chunk.sections)
        report.predecessor = report.predecessor or chunk.predecessor
        report.opened += chunk.opened
        report.erased += chunk.erased
        account.add(chunk)
        if whole:
            _grow(tree, chunk.hashes, sizes, roots)
            whole = not any(fault.kind in ("record_missing", "file_damaged") for fault in chunk.faults)
        if plan.progress is not None:
            plan.progress(chunk.start, report.size)
    report.root = roots[tree.size] = tree.root()
    return roots, tree if whole else None


def _grow(tree: CompactRange, hashes: bytes, sizes: set[int], roots: dict[int, bytes]) -> None:
    for place in range(0, len(hashes), 32):
        tree.append(hashes[place : place + 32])
        if tree.size in sizes:
            roots[tree.size] = tree.root()


def _chunks(plan: Plan, size: int) -> Iterator[Chunk]:
    spans = [(start, min(size, start + CHUNK)) for start in range(0, size, CHUNK)]
    processes = plan.processes or os.cpu_count() or 1
    if processes == 1 or size < PARALLEL_FROM:
        yield from (check_chunk(plan.open_reader, start, end, plan.open_keys) for start, end in spans)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        readers, keys = [plan.open_reader] * len(spans), [plan.open_keys] * len(spans)
        yield from pool.map(check_chunk, readers, *zip(*spans, strict=True), keys)


def _index_faults(plan: Plan, report: Report) -> Iterator[Fault]:
    work = together(report.sections)
    processes = plan.processes or os.cpu_count() or 1
    if processes == 1 or report.size < PARALLEL_FROM:
        found: Iterable[list[Fault]] = (check_sections(plan.open_reader, each) for each in work)
        yield from chain.from_iterable(found)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from chain.from_iterable(pool.map(check_sections, [plan.open_reader] * len(work), work))


def _stand(report: Report) -> bool:
    """Whether no finding is of the leaves themselves or of whose key they are under: what is of a checkpoint, or of personal parts, is
    easily made, and must not keep the rest from being looked at."""
    right = max(report.held_against, default=0)
    return all(each.kind in _BESIDE or (each.kind in _HISTORIES and (each.until or 0) <= right) for each in report.faults)


def _check_answers(report: Report, answers: Answers, reader: LedgerReader) -> None:
    """One that cannot be looked at is no finding, and said."""
    try:
        found = answers(reader)
    except AuditError as error:
        report.unproven.append(f"The index that answers come from was not held against the records: {error}")
        return
    if found is not None:
        said = (
            f"The index that answers come from is not of these records: {found.what}. The records are as they were; delete `index.sqlite`,"
        )
        report.faults.append(Fault(found.record, "answers_altered", f"{said} and it is made anew.", max(report.size, found.record + 1)))


def _check_account(plan: Plan, report: Report, account: Account, reader: LedgerReader, later: Later | None) -> None:
    signed = _signed_up_to(report)
    damaged = any(fault.kind == "file_damaged" for fault in report.faults)
    report.faults.extend(account.faults(signed, report.size, (lambda start, end: iter(())) if damaged else reader.records))
    missing = list(account.missing)
    if plan.open_keys is not None:
        keys = plan.open_keys()
        try:
            missing += account.keys_missing(signed)
            report.faults.extend(account.key_faults(signed, keys.key))
        finally:
            keys.close()
    left = unexcused(missing, later) if missing and later is not None else missing
    report.pruned = account.pruned + sum(not each.key_id for each in missing) - sum(not each.key_id for each in left)
    report.faults.extend(each.fault for each in left)


def _check_commit(report: Report, reader: LedgerReader, root: bytes) -> None:
    if report.size and root != report.root and _stand(report):
        report.faults.append(Fault(0, "root_wrong", "The records do not lead to the root of the last commit.", report.size))
    for stored in reader.records(report.size, report.size + 1):
        if reader.size() <= stored.index:  # else it was committed meanwhile, in one with its commit
            message = f"Record {stored.index} and what follows were never committed."
            report.faults.append(Fault(stored.index, "record_uncommitted", message))


def _check_claims(report: Report, roots: dict[int, bytes], claims: list[Checkpoint], *, signed: bool) -> None:
    """These checkpoints, smallest first; the first that is wrong in some way tells for the later ones. Those that agree speak for their
    records all the same: somebody could lay one wrong file beside them so that nothing else counts. `signed`: by the ledger's key."""
    good, wrong = 0, dict[str, tuple[Checkpoint, Fault]]()
    for claim in sorted(claims, key=lambda claim: claim.size):
        fault = _claim_fault(report, roots, claim, good)
        if fault is not None:
            wrong.setdefault(fault.kind, (claim, fault))
            continue
        if claim.size != good or not report.held_against:
            report.held_against.append(claim.size)
        good = claim.size
    report.faults.extend(fault for _, fault in wrong.values())
    if signed and "root_wrong" in wrong and good >= (size := wrong["root_wrong"][0].size):
        report.faults.append(_forked(size))


def _forked(size: int) -> Fault:
    return Fault(0, "history_forked", f"The ledger's key has signed two different histories of its first {size} records.", size)


def _check_outside(report: Report, roots: dict[int, bytes], outside: Checkpoint) -> None:
    """When this one is wrong, those in the file that agree may have been signed anew by a thief of the key: they narrow nothing down."""
    fault = _claim_fault(report, roots, outside, 0)
    if fault is None:
        report.outside = outside.size
        return
    report.faults.append(fault)
    if fault.kind == "root_wrong" and max(report.held_against, default=0) >= outside.size:
        report.faults.append(_forked(outside.size))


def _check_witnessed(report: Report, plan: Plan, notes: list[str]) -> None:
    """Only checkpoints that agree with the records count, and the outside one among them."""
    every = [*notes, *([plan.outside] if plan.outside is not None else [])]
    report.cosigned = cosigned_by_anybody(report.origin, every)
    if plan.policy is None:
        return
    agreeing = {*report.held_against, *([report.outside] if report.outside is not None else [])}
    report.witnessed, wrong = confirmed(plan.policy, every, agreeing)
    report.faults.extend(Fault(report.size, "checkpoint_invalid", sentence) for sentence in wrong)
    if not report.witnessed:
        message = "No checkpoint that agrees with the records has the cosignatures that the policy asks for."
        report.faults.append(Fault(report.size, "not_witnessed", message))


def _claim_fault(report: Report, roots: dict[int, bytes], claim: Checkpoint, good: int) -> Fault | None:
    """`good` records are known to be right."""
    if claim.origin != report.origin:
        return Fault(0, "origin_wrong", f"A checkpoint is of {claim.origin}, the ledger of {report.origin}.", report.size)
    if claim.size > report.size:
        message = f"A checkpoint was signed for {claim.size} records, but the ledger holds {report.size}: some were cut off or taken out."
        return Fault(good, "records_cut", message, claim.size)
    if roots.get(claim.size) != claim.root:
        message = f"The first {claim.size} records are not those that a checkpoint was signed for."
        return Fault(good, "root_wrong", message, claim.size)
    return None


def _narrow(report: Report, reader: LedgerReader, plan: Plan) -> None:
    """Names the commit in which the first difference lies, where the file's own commits still tell."""
    wrong = min((fault for fault in report.faults if fault.kind == "root_wrong"), key=lambda fault: fault.until or 0, default=None)
    if wrong is None or wrong.until is None or any(fault.kind == "file_damaged" for fault in report.faults):
        return
    commits = {size: root for size, root in reader.commits() if wrong.index < size <= wrong.until}
    found, before = _recomputed(plan, set(commits), wrong.until), wrong.index
    for size, root in sorted(commits.items()):
        if found.get(size) != root:
            where = f"record {before}" if size == before + 1 else f"one of the records {before} to {size - 1}"
            report.faults.append(Fault(before, "commit_wrong", f"The first difference from what was committed is {where}.", size))
            return
        before = size


def _recomputed(plan: Plan, sizes: set[int], until: int) -> dict[int, bytes]:
    tree, roots = CompactRange(), dict[int, bytes]()
    for chunk in _chunks(plan, until):
        _grow(tree, chunk.hashes, sizes, roots)
    return roots


def _unproven(report: Report, plan: Plan) -> list[str]:
    said = []
    if plan.outside is None and report.witnessed:
        said.append(
            f"Witnesses confirmed the first {report.witnessed[-1].size} records. That there were more cannot be excluded: newer records,"
            " checkpoints and cosignatures could have been cut off together. The witnesses know, and are asked at every start."
        )
    elif plan.outside is None:
        said.append(
            "Without a checkpoint kept outside this machine it cannot be excluded that whoever holds the ledger's signing key rewrote"
            " everything, checkpoints included, or that the newest records and checkpoints were cut off together."
        )
    elif plan.verifier is None:
        said.append("The signature of the outside checkpoint was not checked, for its public key was not given.")
    if plan.verifier is None and report.held_against:
        said.append("Signatures were not checked, for the ledger's public key was not given: anybody could have written these checkpoints.")
    covered = max(report.held_against, default=0)
    if report.ok and covered < report.size:
        said.append(f"Records {covered} to {report.size - 1} are newer than every checkpoint: nothing signed speaks for them yet.")
    elif report.outside is not None and report.outside < report.size:
        said.append(f"From record {report.outside} on, only checkpoints in the ledger itself speak for the records.")
    said += [
        f"For {one.new} no key vouches: record {one.index} says that the one before it was lost."
        for one in report.rotations
        if not one.vouched
    ]
    said += [
        f"Checkpoints of up to {term.until} records are by {term.name}, of which no more is known: their signatures were not checked."
        for term in report.terms
        if term.key is None
    ]
    if report.predecessor is not None:
        before = report.predecessor
        said.append(f"This ledger begins after {before.origin} of {before.size} records, which is verified apart from it.")
        if before.copied:
            said.append(f"That was a backup's copy of {before.copied}: what was recorded there later is lost, and nothing says how much.")
    if report.witnessed and report.witnessed[-1].size < covered:
        said.append(f"Records {report.witnessed[-1].size} to {covered - 1} are under checkpoints that too few witnesses cosigned.")
    if report.witnessed and plan.policy is not None and plan.policy.splits:
        said.append("Under this policy witnesses could be parted so that each part makes up a quorum: another history could have one too.")
    if plan.policy is None and report.cosigned:
        said.append("Cosignatures were not checked, for no witness policy was given.")
    if plan.answers is None:
        said.append("The index that answers come from was not held against the records: they may leave records out.")
    if plan.open_keys is None:
        said.append("Personal parts were compared with their digests, not opened, for the sealing key was not given.")
    return said
