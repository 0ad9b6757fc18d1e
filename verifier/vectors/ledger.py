"""A small ledger with fixed keys, always the same bytes: three records of a decision, one of another whose subject was erased, a rotation
of the ledger's key, checkpoints before and after, and cosignatures by two of three witnesses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.checking.bundle import Bundles
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.query import Trail
from router.audit.questions.reader import Stored
from router.audit.records.canonical import canonical
from router.audit.records.leaf import decision_fields, outcome_fields
from router.audit.records.record import DECISION, OUTCOME, REVIEW, SYSTEM
from router.audit.records.sealing import VERSION, associated_data, commit, sealed_digest
from router.audit.tree.checkpoint import Checkpoint, NoteSigner
from router.decision import (
    BodyView,
    Classification,
    Decision,
    Effect,
    Level,
    Outcome,
    Request,
    Result,
    Risk,
    Route,
    Signals,
    Status,
    Subject,
    Verdict,
)
from router.ports import Entry

ORIGIN = "ledger.example/vectors"
FIRST, ERASED = "019ab9d0-1111-7000-8000-00000000000a", "019ab9d0-1111-7000-8000-00000000000b"
ANNA, BERT, RITA = ("a1" * 16, b"a" * 32), ("b2" * 16, b"b" * 32), ("c3" * 16, b"c" * 32)
START = 1_764_000_000_000_000_000
SEEN = 1_764_000_100


def private(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


OLD, NEW, THIEF = (NoteSigner(ORIGIN, private(seed)) for seed in (1, 2, 9))


ROTATION = {"old": OLD.verifier, "new": NEW.verifier, "vouched": True, "reason": "yearly"}
LOST = {"old": "+".join(OLD.verifier.split("+")[:2]), "new": NEW.verifier, "vouched": False, "reason": "lost"}


class Witness:
    """Cosigns as C2SP tlog-cosignature has it."""

    def __init__(self, name: str, seed: int) -> None:
        self._name = name
        self._key = private(seed)
        public = b"\x04" + self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._id = sha256(name.encode() + b"\n" + public).digest()[:4]
        self.verifier = f"{name}+{self._id.hex()}+{b64encode(public).decode()}"

    def line(self, note: str, at: int) -> str:
        text = note.rpartition("\n\n")[0] + "\n"
        signature = self._key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        return f"— {self._name} {b64encode(self._id + at.to_bytes(8, 'big') + signature).decode()}\n"


WITNESSES = tuple(Witness(f"witness.example/w{number}", 10 + number) for number in (1, 2, 3))
POLICY = "\n".join(
    [
        "# two of three",
        *(f"witness w{number} {witness.verifier}" for number, witness in enumerate(WITNESSES, 1)),
        "group two-of-three 2 w1 w2 w3",
        "quorum two-of-three",
        "",
    ]
)


def sealed_entry(fields: dict[str, Any], personal: dict[str, str], key_id: str, key: bytes) -> Entry:
    """As `router.audit.records.record` makes it, with a nonce that is always the same."""
    nonce = sha256(fields["schema"].encode() + fields["id"].encode()).digest()[:12]
    text = AESGCM(key).encrypt(nonce, orjson.dumps(personal), associated_data(fields["schema"], fields["id"]))
    sealed = VERSION + nonce + text
    marks = {"commitments": commit(key, fields["id"], personal), "sealed": sealed_digest(key_id, sealed)}
    return Entry(canonical({**fields, **marks}), sealed, key_id)


def entries(rotation: dict[str, Any] = ROTATION) -> list[Entry]:
    """By index: 0 started, 1 to 3 the first decision's, 4 the erased one's, 5 the rotation, 6 to 10 others; 7 is the erasure."""
    first = {**decision_fields(decision(FIRST)), "schema": DECISION}
    held = {"id": FIRST, "time": "2025-11-24T16:00:01.000000000Z", "event": "held", "details": {"quorum": 1}, "schema": REVIEW}
    routed = Outcome(Result.ROUTED, 200, "", "http://127.0.0.1:9001", 1, 2_000_000, 3_000_000, None, 200, True)
    outcome = {"id": FIRST, "time": "2025-11-24T16:00:02.000000000Z", "outcome": outcome_fields(routed), "schema": OUTCOME}
    second = {**decision_fields(decision(ERASED)), "schema": DECISION}
    return [
        system("started", {}),
        sealed_entry(first, {"subject": "anna@halden.example", "text": "Überweisung 4711 stornieren"}, *ANNA),
        sealed_entry(held, {"reviewer": "rita@halden.example"}, *RITA),
        Entry(canonical(outcome)),
        sealed_entry(second, {"subject": "bert@halden.example"}, *BERT),
        system("key_rotated", rotation),
        system("config_changed", {}),
        system("subject_erased", {"key_id": BERT[0], "reason": "gdpr_art_17", "records": 1}),
        *(system("audit_read", {"rows": number}) for number in range(3)),
    ]


def sealed_late() -> Entry:
    """Of the second decision, under the key that its person's erasure destroyed: by who kept a copy."""
    noted = {"id": ERASED, "time": "2025-11-24T16:00:04.000000000Z", "event": "approved", "details": {}, "schema": REVIEW}
    return sealed_entry(noted, {"comment": "bert called"}, *BERT)


def system(event: str, details: dict[str, Any]) -> Entry:
    return Entry(canonical({"time": "2025-11-24T16:00:03.000000000Z", "event": event, "details": details, "schema": SYSTEM}))


def decision(decision_id: str) -> Decision:
    subject = Subject("", "person", (), (), "halden", {}, "jwt")
    request = Request(decision_id, START, "gateway", subject, "POST", "", "", body=BodyView(b"{}", "", False, ""))
    return Decision(
        id=decision_id,
        request=request,
        signals=Signals((), "", 27, 2),
        classification=Classification(Status.CLASSIFIED, "payment.cancel", 0.93, 0.8, tier="encoder"),
        risk=Risk(Level.MEDIUM, 0.4, ()),
        admission=Verdict(Effect.ALLOW),
        verdict=Verdict(Effect.REVIEW),
        route=Route("payments", "payments-service", "intent"),
        outcome=None,
        decided_ns=START + 1,
        config_digest="10" * 32,
        catalog_digest="20" * 32,
    )


def both(checkpoint: Checkpoint) -> str:
    """A hand-over: signed by the old key and by the new one."""
    return OLD.sign(checkpoint.text()) + NEW.sign(checkpoint.text()).rpartition("\n\n")[2]


class Ledger:
    """`notes` by size: 5 signed by the old key, 6 the hand-over, 9 cosigned by two witnesses, 11 signed only. With `lost` the old key signs
    no hand-over, for nobody has it any more."""

    def __init__(self, folder: Path, records: list[Entry] | None = None, *, lost: bool = False) -> None:
        self.notes = dict[int, str]()
        self._lost = lost
        self._file = folder / "ledger.sqlite"
        self._index = folder / "index.sqlite"
        store = SqliteStore(self._file)
        journal = Journal(store, Checkpointing(NEW, None, 3600, 10**6))
        journal.open()
        for entry in records or entries(LOST if lost else ROTATION):
            journal.append([entry])
            checkpoint = Checkpoint(ORIGIN, journal.size, journal.root())
            if journal.size in (5, 6, 9, 11):
                note = self._note(checkpoint)
                self.notes[journal.size] = note
                store.write_checkpoint(journal.size, note, START)
        store.close()

    def _note(self, checkpoint: Checkpoint) -> str:
        if checkpoint.size == 5:
            return OLD.sign(checkpoint.text())
        if checkpoint.size == 6 and not self._lost:
            return both(checkpoint)
        note = NEW.sign(checkpoint.text())
        return note + "".join(each.line(note, SEEN + place) for place, each in enumerate(WITNESSES[:2])) if checkpoint.size == 9 else note

    @contextmanager
    def bundles(self) -> Iterator[Bundles]:
        with closing(SqliteReader(self._file, Stored)) as reader, closing(SqliteIndex(self._index)) as index:
            yield Bundles(reader, Trail(reader, index))


def keys(key_id: str) -> bytes | None:
    """Bert's key was destroyed."""
    return dict((ANNA, RITA)).get(key_id)
