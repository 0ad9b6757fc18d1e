"""Writes the vectors: `python -m vectors.make` in this folder's parent. Fixed keys, always the same bytes; a test makes them again.

A vector is {name, about, bundle (the file's text; `bundle_base64` where it is no text), keys, policy, checkpoint, status, id, sentence}.
`id` is decided here, by hand; the sentence is what the Python verifier says to it, and the page in `web/` is held to the same.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lockgate_verify.cli import holding_document, refusal_document
from lockgate_verify.failure import Refusal
from lockgate_verify.trust import given
from lockgate_verify.verify import verify
from router.audit.checking.bundle import Disclosure
from router.audit.tree.checkpoint import note_checkpoint
from vectors.ledger import (
    ERASED,
    FIRST,
    NEW,
    OLD,
    ORIGIN,
    POLICY,
    THIEF,
    WITNESSES,
    Ledger,
    Witness,
    both,
    entries,
    keys,
    sealed_late,
    system,
)

FOLDER = Path(__file__).parent
Document = dict[str, Any]
Vector = dict[str, Any]
STRANGER = Witness("stranger.example/w", 20)
NEAR = "a" * 43 + "="  # base64 of 32 bytes, were its last bits not set


def main(folder: Path = FOLDER) -> int:
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def files() -> dict[str, str]:
    """Text by file name."""
    with tempfile.TemporaryDirectory() as folder:
        forgery = [*entries()[:3], system("forged", {}), *entries()[4:]]
        ledger, lost = Ledger(_in(folder, "ledger")), Ledger(_in(folder, "lost"), lost=True)
        forked, ending = Ledger(_in(folder, "forked"), forgery), Ledger(_in(folder, "ending"), entries()[:6])
        late = Ledger(_in(folder, "late"), [*entries()[:8], sealed_late(), *entries()[9:]])
        forged_ending = whole(Ledger(_in(folder, "forged_ending"), forgery[:6]))
        made = {
            "valid": valid(ledger, ending, late),
            "format": format_vectors(ledger),
            "contents": contents(ledger),
            "signatures": signatures(ledger, lost),
            "handovers": handovers(ledger, ending, forged_ending),
            "witnesses": witnesses(ledger),
            "consistency": consistency(ledger, forked),
            "given": brought(ledger),
        }
        return {f"{name}.json": json.dumps(list(vectors), indent=1, ensure_ascii=False) + "\n" for name, vectors in made.items()}


def _in(folder: str, name: str) -> Path:
    (made := Path(folder) / name).mkdir()
    return made


def vector(name: str, about: str, bundle: Document | str | bytes, wanted: str = "holds", **more: Any) -> Vector:
    """`more`: keys, policy, checkpoint; the new key alone when left out."""
    if isinstance(bundle, dict):
        bundle = json.dumps(bundle, ensure_ascii=False)
    raw = bundle if isinstance(bundle, bytes) else bundle.encode()
    beside: Vector = {"keys": [NEW.verifier], "policy": None, "checkpoint": None, **more}
    answer = answered(raw, **beside)
    if answer["id"] != wanted:
        raise SystemExit(f"{name}: {answer['id']} instead of {wanted}: {answer['sentence']}")
    said = {part: answer[part] for part in ("status", "id", "sentence")}
    text = {"bundle_base64": b64encode(bundle).decode()} if isinstance(bundle, bytes) else {"bundle": bundle}
    return {"name": name, "about": about, **text, **beside, **said}


def answered(raw: bytes, keys: list[str], policy: str | None, checkpoint: str | None) -> Document:
    try:
        trusted = given(keys, None if policy is None else policy.encode(), None if checkpoint is None else checkpoint.encode())
        return holding_document(verify(raw, trusted), trusted)
    except Refusal as refusal:
        return refusal_document(refusal)


def whole(ledger: Ledger, outside: int | None = None, decision_id: str = FIRST) -> Document:
    with ledger.bundles() as bundles:
        known = None if outside is None else note_checkpoint(ledger.notes[outside])
        return bundles.bundle(decision_id, known, Disclosure(keys))


def small(ledger: Ledger) -> Document:
    """One record, nothing opened."""
    document = whole(ledger)
    return {**document, "records": [_bare(document["records"][0])], "rotations": []}


def changed(document: Document, change: Callable[[Document], Any]) -> Document:
    made = copy.deepcopy(document)
    change(made)
    return made


def with_note(document: Document, note: str) -> Document:
    """The same with another note everywhere but in hand-overs."""
    old = document["checkpoint"]
    made = copy.deepcopy(document)
    made["checkpoint"] = note
    for record in (*made["records"], *made["erasures"], *made["rotations"]):
        record["proof"] = record["proof"].replace(old, note)
    return made


def with_leaf(document: Document, change: Callable[[bytes], bytes]) -> Document:
    return changed(document, lambda made: made["records"][0].update(leaf=_base64(change(b64decode(made["records"][0]["leaf"])))))


def valid(ledger: Ledger, ending: Ledger, late: Ledger) -> Iterator[Vector]:
    both: Document = {"policy": POLICY, "keys": [OLD.verifier]}
    yield vector("everything", "An old key, a policy and an older checkpoint.", whole(ledger, 5), checkpoint=ledger.notes[5], **both)
    yield vector("one-record", "One record, one key.", small(ledger))
    yield vector("erased", "The subject was erased.", whole(ledger, None, ERASED))
    unordered = changed(
        whole(ledger, None, ERASED), lambda made: made.update(erasures=[]) or made["records"][0]["erased"].update(erasure=None)
    )
    yield vector("erased-without-record", "No record says so.", unordered)
    yield vector("sealed-after-erasure", "A later record is sealed under the key that was destroyed.", whole(late, None, ERASED))
    yield vector("newer-outside", "The outside checkpoint is the newer one.", whole(ledger, 11), checkpoint=ledger.notes[11])
    older = whole(ledger, 5)
    yield vector("predecessor", "A checkpoint by the old key, for who trusts the new one.", older, checkpoint=ledger.notes[5])
    yield vector("same-outside", "The outside checkpoint is the bundle's own.", whole(ledger, 9), checkpoint=ledger.notes[9])
    yield vector("quorum-none", "A policy that asks for no witness.", small(ledger), policy="quorum none\n")
    unwitnessed = with_note(small(ledger), ledger.notes[9].split("— witness")[0])
    yield vector("quorum-none-unseen", "And no witness saw it.", unwitnessed, policy="quorum none\n")
    stranger = with_note(small(ledger), ledger.notes[9] + f"— stranger {_base64(bytes(70))}\n")
    yield vector("unknown-signature", "A signature by an unknown key is passed over.", stranger)
    log = f"log {NEW.verifier} https://ledger.example\n{POLICY}"
    yield vector("policy-with-log", "The policy lists the log, so that no key need be given.", small(ledger), policy=log, keys=[])
    yield vector("several-keys", "Any of the keys given will do.", small(ledger), keys=[THIEF.verifier, NEW.verifier])
    yield vector("handover-itself", "The checkpoint is the hand-over, which both have signed.", whole(ending))
    yield vector("handover-itself-old-key", "Also for who trusts the old key.", whole(ending), keys=[OLD.verifier])


def format_vectors(ledger: Ledger) -> Iterator[Vector]:
    document = small(ledger)
    text = json.dumps(document)
    for name, about, broken in (
        ("empty", "Nothing at all.", ""),
        ("no-json", "Cut off.", text[:-1]),
        ("duplicate-key", "A key twice, even with the same value.", text.replace('"decision"', f'"decision": "{FIRST}", "decision"', 1)),
        ("fraction", "A fraction.", text.replace('"index": 1', '"index": 1.0', 1)),
        ("exponent", "An exponent.", text.replace('"index": 1', '"index": 1e0', 1)),
        ("nan", "Not a number.", text.replace('"index": 1', '"index": NaN', 1)),
        ("large-integer", "2^53.", text.replace('"index": 1', f'"index": {2**53}', 1)),
        ("huge-integer", "Ten thousand digits.", text.replace('"index": 1', '"index": ' + "1" * 10_000, 1)),
        ("leading-zero", "A leading zero.", text.replace('"index": 1', '"index": 01', 1)),
        ("deep", "A hundred lists in one another.", text.replace('"consistency": null', '"consistency": ' + "[" * 100 + "]" * 100)),
        ("lone-surrogate", "Half a character.", text.replace(f'"{FIRST}"', '"\\ud800"', 1)),
        ("control-character", "A newline in a string.", text.replace(f'"{FIRST}"', '"a\nb"', 1)),
        ("comma", "A comma too many.", text[:-1] + ",}"),
        ("byte-order-mark", "A byte order mark.", "\ufeff" + text),
        ("not-utf-8", "Another encoding.", text.encode("utf-16")),
    ):
        yield vector(name, about, broken, "bundle_not_json")
    for name, about, change in (
        ("unknown-key", "A key that is not known.", lambda made: made.update(more=1)),
        ("missing-key", "A key that is missing.", lambda made: made.pop("rotations")),
        ("no-records", "No record.", lambda made: made.update(records=[])),
        ("record-twice", "The same record twice.", lambda made: made["records"].append(made["records"][0])),
        ("text-as-index", "An index that is a string.", lambda made: made["records"][0].update(index="1")),
        ("truth-as-index", "An index that is true.", lambda made: made["records"][0].update(index=True)),
        ("negative-index", "An index below nothing.", lambda made: made["records"][0].update(index=-1)),
        ("list-as-record", "A record that is a list.", lambda made: made.update(records=[[]])),
        (
            "loose-base64",
            "Base64 with bits that say nothing.",
            lambda made: made.update(consistency={"old": 1, "new": 2, "hashes": [NEAR]}),
        ),
        ("unpadded-base64", "Base64 without its padding.", lambda made: made["records"][0].update(leaf="YQ")),
        ("extra-data", "A tlog-proof with extra data.", _proof("index 1", "extra YQ==\nindex 1")),
        ("proof-index", "A proof whose index has a leading zero.", _proof("index 1", "index 01")),
        ("no-proof", "A proof of another kind.", _proof("tlog-proof@v1", "tlog-proof@v2")),
        ("decision-id", "An id with a space.", lambda made: made.update(decision="a b")),
    ):
        yield vector(name, about, changed(document, change), "bundle_malformed")
    for name, about, old, new in (
        ("note-control", "A tab in the note.", "\n9\n", "\n9\t\n"),
        ("note-size", "A size with a sign.", "\n9\n", "\n+9\n"),
        ("note-empty-line", "An empty line before the end.", "\n9\n", "\n\n9\n"),
        ("note-hyphen", "A hyphen where a dash must stand.", "—", "-"),
        ("note-origin", "An origin that could steer a terminal.", ORIGIN, "\u009b31m"),
    ):
        yield vector(name, about, with_note(document, document["checkpoint"].replace(old, new)), "bundle_malformed")
    yield vector("other-format", "Another version.", text.replace("bundle.v1", "bundle.v2"), "bundle_format_unknown")
    yield vector("no-format", "JSON of something else.", "{}", "bundle_format_unknown")
    yield vector("list", "A list.", "[]", "bundle_malformed")


def _bare(record: Document) -> Document:
    return {name: record[name] for name in ("index", "leaf", "proof")}


def _moved(index: int) -> Callable[[Document], None]:
    """Record and proof say another index."""

    def move(made: Document) -> None:
        _proof("index 1", f"index {index}")(made)
        made["records"][0]["index"] = index

    return move


def _proof(old: str, new: str) -> Callable[[Document], None]:
    return lambda made: made["records"][0].update(proof=made["records"][0]["proof"].replace(old, new, 1))


def contents(ledger: Ledger) -> Iterator[Vector]:
    """Steps 2, 3, 8, 9 and 10."""
    document, full, erased = small(ledger), whole(ledger), whole(ledger, None, ERASED)
    for name, about, change in (
        ("leaf-space", "A space more.", lambda leaf: leaf.replace(b":", b": ", 1)),
        ("leaf-order", "Keys in another order.", lambda leaf: b'{"zz":1,' + leaf[1:]),
        ("leaf-duplicate", "A key twice.", lambda leaf: b'{"admission":1,' + leaf[1:]),
        ("leaf-fraction", "A fraction.", lambda leaf: leaf.replace(b'"body_bytes":2', b'"body_bytes":2.0')),
        ("leaf-minus-zero", "Zero with a sign.", lambda leaf: leaf.replace(b'"body_bytes":2', b'"body_bytes":-0')),
        ("leaf-escape", "An escape that is not needed.", lambda leaf: leaf.replace(b"gateway", b"\\u0067ateway")),
        ("leaf-name", "A key beyond ASCII.", lambda leaf: leaf[:-1] + ',"ä":1}'.encode()),
        ("leaf-list", "A list.", lambda leaf: b"[]"),
        ("leaf-bytes", "No text.", lambda leaf: b"\xff\xfe"),
        ("leaf-deep", "Lists in lists.", lambda leaf: leaf[:-1] + b',"z":' + b"[" * 9000 + b"]" * 9000 + b"}"),
    ):
        yield vector(name, about, with_leaf(document, change), "leaf_not_canonical")
    yield vector(
        "leaf-version",
        "A later version.",
        with_leaf(document, lambda leaf: leaf.replace(b"decision.v1", b"decision.v2")),
        "leaf_schema_unknown",
    )
    yield vector(
        "leaf-altered", "Another verdict.", with_leaf(document, lambda leaf: leaf.replace(b'"review"', b'"accept"')), "inclusion_wrong"
    )
    yield vector("other-index", "The proof of another record.", changed(document, _proof("index 1", "index 2")), "proof_other")
    yield vector("index-moved", "Record and proof moved together.", changed(document, _moved(2)), "inclusion_wrong")
    yield vector("index-beyond", "A place beyond the tree.", changed(document, _moved(9)), "inclusion_wrong")
    yield vector(
        "other-note", "A proof with another checkpoint than the bundle's.", changed(document, _proof("\n9\n", "\n8\n")), "proof_other"
    )
    yield vector("short-proof", "A proof that lacks its last hash.", changed(document, _shorter), "inclusion_wrong")

    def opening(change: Callable[[Document], Any]) -> Document:
        return changed(full, lambda made: change(made["records"][0]["opened"]))

    yield vector(
        "opened-other-value",
        "Another text.",
        opening(lambda opened: opened["text"].update(value="Überweisung 4712 stornieren")),
        "commitment_wrong",
    )
    yield vector(
        "opened-other-salt", "Another salt.", opening(lambda opened: opened["text"].update(salt=_base64(bytes(32)))), "commitment_wrong"
    )
    yield vector(
        "opened-other-name",
        "One field under another's name.",
        opening(lambda opened: opened.update(text=opened["subject"])),
        "commitment_wrong",
    )
    yield vector(
        "opened-unknown", "A field that was not recorded.", opening(lambda opened: opened.update(path=opened["text"])), "commitment_missing"
    )
    yield vector(
        "opened-built-in",
        "A field named as something every object of a language has.",
        opening(lambda opened: opened.update({"__proto__": opened["text"]})),
        "commitment_missing",
    )

    def erasing(**other: Any) -> Document:
        return changed(erased, lambda made: made["records"][0]["erased"].update(other))

    yield vector("erased-other-part", "Another sealed part.", erasing(sealed="AAAA"), "sealed_wrong")
    yield vector("erased-other-key", "Another key's id.", erasing(key_id="a1" * 16), "sealed_wrong")
    yield vector("erased-no-record", "The erasure is not in the bundle.", {**erased, "erasures": []}, "erasure_missing")
    rotation = _bare(erased["rotations"][0])
    other = {**erasing(erasure=rotation["index"]), "erasures": [rotation]}
    yield vector("erased-by-another", "Another record as the erasure.", other, "erasure_wrong")
    yield vector("other-decision", "Records of another decision.", {**document, "decision": ERASED}, "decision_other")
    yield vector(
        "mixed-decisions",
        "Records of two.",
        changed(full, lambda made: made["records"].append(_bare(erased["records"][0]))),
        "decision_other",
    )
    yield vector("no-decision", "Without the decision itself.", changed(full, lambda made: made["records"].pop(0)), "decision_missing")


def _shorter(made: Document) -> None:
    head, note = made["records"][0]["proof"].split("\n\n", 1)
    made["records"][0]["proof"] = head.rpartition("\n")[0] + "\n\n" + note


def signatures(ledger: Ledger, lost: Ledger) -> Iterator[Vector]:
    """Steps 4 and 5."""
    document, full = small(ledger), whole(ledger)
    note = document["checkpoint"]
    line = next(line for line in note.split("\n") if line.startswith(f"— {ORIGIN}"))
    forged = line[: line.rindex(" ") + 1] + _base64(bytes([*b64decode(line.split(" ")[2])[:4], *bytes(64)]))
    yield vector("signature-forged", "A signature of zeros.", with_note(document, note.replace(line, forged)), "signature_wrong")
    short = line[: line.rindex(" ") + 1] + _base64(b64decode(line.split(" ")[2])[:9])
    yield vector("signature-short", "A signature that is too short.", with_note(document, note.replace(line, short)), "signature_wrong")
    twice = with_note(document, note.replace(line, line + "\n" + forged))
    yield vector("signature-twice", "A right and a wrong signature by one key.", twice, "signature_wrong")
    yield vector(
        "signature-none", "Without the log's own signature.", with_note(document, note.replace(line + "\n", "")), "signature_missing"
    )
    yield vector("old-key-alone", "The old key, and no rotation in the bundle.", document, "signature_missing", keys=[OLD.verifier])
    yield vector("other-key", "A key that has nothing to do with it.", full, "signature_missing", keys=[THIEF.verifier])
    unvouched = changed(full, lambda made: made["rotations"][0].update(handover=None))
    yield vector("not-vouched", "The old key did not vouch.", unvouched, "key_not_vouched", keys=[OLD.verifier])
    yield vector("not-vouched-new-key", "Nor need it for who trusts the new one.", unvouched)
    handover = full["rotations"][0]["handover"]
    head, by_old, by_new = handover.split("— ")
    later = both(note_checkpoint(note))
    for name, about, text in (
        ("handover-by-new", "The new key vouches for itself.", f"{head}— {by_new}"),
        ("handover-by-old", "The new key did not take over.", f"{head}— {by_old}"),
        ("handover-later", "A tree that does not end with the record, signed by both.", full["rotations"][0]["proof"].replace(note, later)),
        ("handover-other-index", "A hand-over of another record.", handover.replace("index 5", "index 4", 1)),
    ):
        broken = changed(full, lambda made, text=text: made["rotations"][0].update(handover=text))  # type: ignore[misc]
        yield vector(name, about, broken, "handover_wrong", keys=[OLD.verifier])
    missed = whole(lost)
    yield vector("lost-key", "The old key was lost, and vouches for nothing.", missed, "key_not_vouched", keys=[OLD.verifier])
    yield vector("lost-key-new", "Who trusts the new one need not care.", missed)
    found = with_note(missed, OLD.sign(missed["checkpoint"].rpartition("\n\n")[0] + "\n"))
    yield vector("lost-key-found", "Signed by the key that was said to be lost.", found, "key_not_in_force", keys=[OLD.verifier])
    decided = changed(full, lambda made: made.update(rotations=[{**_bare(full["records"][0]), "handover": None}]))
    yield vector("rotation-other", "A decision as a rotation.", decided, "rotation_malformed")
    retired = with_note(full, OLD.sign(note.rpartition("\n\n")[0] + "\n"))
    yield vector("retired-key", "Signed by the old key after it had handed over.", retired, "key_not_in_force", keys=[OLD.verifier])


def handovers(ledger: Ledger, ending: Ledger, forged_ending: Document) -> Iterator[Vector]:
    """The tree that ends with the rotation: the new key's first. `ending` is the ledger up to it, `forged_ending` another with the same
    rotation at the same place."""
    genuine, full = whole(ending), whole(ledger)
    by_old = OLD.sign(_signed_text(genuine["checkpoint"]))
    yield vector(
        "retired-key-handover", "Signed by the old key alone.", with_note(genuine, by_old), "key_not_in_force", keys=[OLD.verifier]
    )
    borrowed = changed(forged_ending, lambda made: made["rotations"][0].update(handover=genuine["rotations"][0]["handover"]))
    stolen = with_note(borrowed, OLD.sign(_signed_text(forged_ending["checkpoint"])))
    yield vector("stolen-key-handover", "Other records, signed by the old key, with the true hand-over.", stolen, "key_not_in_force")
    yield vector("forked-handover", "Other records than those that were handed over, signed by both.", borrowed, "history_forked")
    yield vector("outside-retired", "A checkpoint by the old key alone.", full, "outside_key_not_in_force", checkpoint=by_old)
    kept = whole(ledger, 6)
    other = changed(kept, lambda made: made["rotations"][0].update(handover=forged_ending["rotations"][0]["handover"]))
    yield vector("forked-handover-outside", "Another tree was handed over.", other, "history_forked", checkpoint=ledger.notes[6])
    yield vector("outside-handover", "The hand-over is the outside checkpoint.", kept, checkpoint=ledger.notes[6])


def _signed_text(note: str) -> str:
    return note.rpartition("\n\n")[0] + "\n"


def witnesses(ledger: Ledger) -> Iterator[Vector]:
    """Step 6."""
    document = small(ledger)
    note = document["checkpoint"]
    bare = note.split("— witness")[0]
    first, second, third = (witness.line(note, 1_764_000_100) for witness in WITNESSES)
    for name, about, lines, wanted in (
        ("one-of-two", "One witness where two are asked for.", first, "quorum_missing"),
        ("nobody", "No witness.", "", "quorum_missing"),
        ("same-twice", "One witness twice.", first + WITNESSES[0].line(note, 1_764_000_200), "quorum_missing"),
        ("other-two", "Two others, the latest time of each.", second + third + WITNESSES[1].line(note, 1_764_000_300), "holds"),
        ("all-three", "All of them.", first + second + third, "holds"),
        (
            "other-text",
            "A cosignature of another checkpoint.",
            first + WITNESSES[1].line(ledger.notes[11], 1_764_000_100),
            "cosignature_wrong",
        ),
        ("absurd-time", "A time beyond the year 9999.", first + second + WITNESSES[2].line(note, 2**62), "cosignature_wrong"),
        ("no-time", "A time of zero.", first + WITNESSES[1].line(note, 0), "cosignature_wrong"),
        ("short-cosignature", "A cosignature without its time.", first + _without_time(second), "cosignature_wrong"),
    ):
        yield vector(name, about, with_note(document, bare + lines), wanted, policy=POLICY)
    groups = "group any-other any other\ngroup all all two-of-three any-other\nquorum all"
    nested = POLICY.replace("quorum two-of-three", f"witness other {STRANGER.verifier}\n{groups}")
    yield vector("nested-quorum", "Groups in groups.", document, "quorum_missing", policy=nested)
    yield vector("nested-quorum-met", "Groups in groups.", document, policy=nested.replace("group all all", "group all 1"))


def _without_time(line: str) -> str:
    head, _, encoded = line.rstrip("\n").rpartition(" ")
    raw = b64decode(encoded)
    return f"{head} {_base64(raw[:4] + raw[12:])}\n"


def consistency(ledger: Ledger, forked: Ledger) -> Iterator[Vector]:
    """Step 7."""
    full, plain = whole(ledger, 5), whole(ledger)
    trusted: Document = {"keys": [OLD.verifier]}
    yield vector("no-path", "No proof towards the outside checkpoint.", plain, "consistency_missing", checkpoint=ledger.notes[5], **trusted)
    yield vector("other-path", "A proof from another size.", full, "consistency_missing", checkpoint=ledger.notes[6], **trusted)
    yield vector(
        "forked-before", "The outside checkpoint is of another history.", full, "consistency_wrong", checkpoint=forked.notes[5], **trusted
    )
    yield vector("forked-same", "Two checkpoints of the same size.", plain, "history_forked", checkpoint=forked.notes[9])
    yield vector("forked-after", "A newer one of another history.", whole(ledger, 11), "consistency_wrong", checkpoint=forked.notes[11])
    yield vector(
        "unused-path", "A proof that nobody asked for is passed over.", changed(full, lambda made: made["consistency"].update(hashes=[]))
    )
    short = changed(full, lambda made: made["consistency"]["hashes"].pop())
    yield vector("short-path", "A proof that lacks a hash.", short, "consistency_wrong", checkpoint=ledger.notes[5], **trusted)
    text = ledger.notes[5].rpartition("\n\n")[0] + "\n"
    yield vector("outside-thief", "Signed by another key.", full, "outside_signature_missing", checkpoint=THIEF.sign(text), **trusted)
    yield vector(
        "outside-too-new", "Signed by the new key before its time.", full, "outside_key_not_in_force", checkpoint=NEW.sign(text), **trusted
    )
    renamed = ledger.notes[5].replace(ORIGIN, "other.example")
    yield vector("outside-other", "Of another ledger.", full, "outside_other_origin", checkpoint=renamed, **trusted)
    altered = ledger.notes[5].replace("\n5\n", "\n4\n")
    yield vector("outside-altered", "Altered after it was signed.", full, "outside_signature_wrong", checkpoint=altered, **trusted)


def brought(ledger: Ledger) -> Iterator[Vector]:
    """What is given beside the bundle."""
    document = small(ledger)
    witness = f"witness a {WITNESSES[0].verifier}\n"
    yield vector("no-key", "No key.", document, "key_missing", keys=[])
    for name, key in (
        ("key-nonsense", "x"),
        ("key-id", NEW.verifier.replace("+", "+0", 1)),
        ("key-witness", WITNESSES[0].verifier),
        ("key-short", NEW.verifier[:-4]),
        ("key-name", NEW.verifier.replace(ORIGIN, "other", 1)),
    ):
        yield vector(name, "Not a key of a log.", document, "key_malformed", keys=[key])
    for name, about, policy in (
        ("policy-empty", "Nothing.", ""),
        ("policy-comment", "Nothing but a comment.", "# nothing\n\n"),
        ("policy-no-quorum", "Without a quorum line.", witness),
        ("policy-unknown", "A word that is not known.", witness + "quorums a\n"),
        ("policy-undefined", "A quorum that is defined nowhere.", witness + "quorum b\n"),
        ("policy-defined-later", "A quorum that is defined after it.", "quorum a\n" + witness),
        ("policy-two-quorums", "Two quorum lines.", witness + "quorum a\nquorum none\n"),
        ("policy-same-name", "A name twice.", witness + f"witness a {WITNESSES[1].verifier}\nquorum a\n"),
        ("policy-same-key", "A key twice.", witness + f"witness b {WITNESSES[0].verifier}\nquorum a\n"),
        ("policy-none-name", "The name `none`.", witness.replace(" a ", " none ") + "quorum none\n"),
        ("policy-none-member", "`none` as a member.", witness + "group g any none\nquorum g\n"),
        ("policy-two-groups", "A member of two groups.", witness + "group g any a\ngroup h any a\nquorum g\n"),
        ("policy-twice-member", "A member twice.", witness + "group g 2 a a\nquorum g\n"),
        ("policy-zero", "A group of which nobody is needed.", witness + "group g 0 a\nquorum g\n"),
        ("policy-too-many", "More than there are.", witness + "group g 2 a\nquorum g\n"),
        ("policy-no-members", "A group of nobody.", witness + "group g any\nquorum g\n"),
        ("policy-carriage-return", "Lines as another system ends them.", (witness + "quorum a\n").replace("\n", "\r\n")),
        ("policy-log-key", "A witness with a log's key.", f"witness a {NEW.verifier}\nquorum a\n"),
        ("policy-witness-key", "A log with a witness's key.", f"log {WITNESSES[0].verifier}\nquorum none\n"),
    ):
        yield vector(name, about, document, "policy_malformed", policy=policy)
    yield vector(
        "policy-other-log", "A policy of another log.", document, "key_not_in_policy", policy=f"log {THIEF.verifier}\nquorum none\n"
    )
    spaced = "\t" + POLICY.replace(" ", " \t ").replace("# ", "  # ")
    yield vector("policy-spaces", "Spaces and tabs.", document, policy=spaced)
    for name, about, note in (
        ("checkpoint-empty", "Nothing.", ""),
        ("checkpoint-text", "Some text.", "hello\n"),
        ("checkpoint-unsigned", "Without signatures.", ledger.notes[5].rpartition("\n\n")[0] + "\n\n"),
    ):
        yield vector(name, about, document, "checkpoint_malformed", checkpoint=note)


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


if __name__ == "__main__":
    sys.exit(main())
