"""What a replay found, as a signed statement about the policies: for the one who has to approve them and has no access to the ledger.

It says which decisions of which ledger were put to which policies, and what came of it; nobody is named unless that was asked for. That it
was really done so is the signer's word. Whoever has the ledger and its sealing key can do it again and compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from adapters.rego.embedded import NAME
from router.audit.records.canonical import timestamp
from router.audit.tree.checkpoint import NoteVerifier, note_checkpoint
from router.errors import AuditError
from router.policy.envelope import INVALID, STATEMENT
from router.policy.replaying import Difference, Replay, Word

PREDICATE = "urn:lockgate:replay:v1"
FIELDS = frozenset(("made", "version", "engine", "ledger", "filters", "compared", "flips", "left_out", "by", "rules", "not_reproduced"))
MOST_PART = 12


@dataclass(frozen=True, slots=True)
class Replayed:
    """From which ledger, up to how many `records`, and under which signed `checkpoint` of it where there is one; `filters` in words."""

    origin: str
    records: int
    checkpoint: str | None
    filters: str
    made_ns: int


def statement(found: Replay, digest: str, source: Replayed) -> dict[str, Any]:
    """About the policies with this digest, which is what their verdicts carry."""
    predicate = {
        "made": timestamp(source.made_ns),
        "version": version("lockgate"),
        "engine": NAME,
        "ledger": {"origin": source.origin, "records": source.records, "checkpoint": source.checkpoint},
        "filters": source.filters,
        **described(found),
    }
    return {
        "_type": STATEMENT,
        "subject": [{"name": "policies", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE,
        "predicate": predicate,
    }


def described(found: Replay) -> dict[str, Any]:
    """For machines."""
    return {
        "compared": found.compared,
        "flips": len(found.flips),
        "not_reproduced": [each.decision for each in found.not_reproduced],
        "left_out": dict(found.left_out),
        "by": found.groups(),
        "rules": {code: list(places) for code, places in sorted(found.rules.items())},
        "differences": [_difference(each) for each in found.differences],
    }


def _difference(each: Difference) -> dict[str, Any]:
    words = {"before": _word(each.before), "after": _word(each.after)}
    where = {"record": each.record, "decision": each.decision, "intent": each.intent, "tenant": each.tenant, "subject": each.subject}
    return {**where, **words}


def _word(word: Word) -> dict[str, Any]:
    told = {"effect": word.effect, "reasons": list(word.reasons), "obligations": list(word.obligations)}
    return {**told, "route": word.reroute} if word.reroute is not None else told


@dataclass(frozen=True, slots=True)
class Reported:
    """A statement whose signature holds. `words` say what is still somebody's word only."""

    digest: str
    predicate: Mapping[str, Any]
    words: tuple[str, ...]


def checked(document: Mapping[str, Any], policies: str | None, ledger: str | None) -> Reported:
    """`policies`: the digest of those that it must be about; `ledger`: the public key of the ledger whose checkpoint it must have. Raises
    AuditError `report_invalid`."""
    digest, predicate = _parts(document)
    if policies is not None and digest != policies:
        told = f"The report is about policies {digest[:MOST_PART]}, and these are {policies[:MOST_PART]}."
        raise AuditError(told, INVALID)
    words = ["that exactly these decisions were put to the policies, and that this came of it, is the signer's word"]
    if policies is None:
        words.append("which policies have this digest was not looked at; name them with --policies")
    note, size = predicate["ledger"]["checkpoint"], 0
    if ledger is not None:
        if not isinstance(note, str):
            raise AuditError("The report has no checkpoint of its ledger.", INVALID)
        size = NoteVerifier(ledger).open_checkpoint(note).size
    else:
        size = note_checkpoint(note).size if isinstance(note, str) else 0
        words.append("whose ledger it is was not looked at; name its public key with --ledger-key")
    newer = predicate["ledger"]["records"] - size
    if newer > 0:
        words.append(f"{newer:,} of the ledger's records are newer than its checkpoint")
    return Reported(digest, predicate, tuple(words))


def _parts(document: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    subject: Any = document.get("subject")
    predicate = document.get("predicate")
    if document.get("predicateType") != PREDICATE or not isinstance(predicate, dict) or not predicate.keys() >= FIELDS:
        raise AuditError("The statement is not the report of a replay.", INVALID)
    try:
        (only,) = subject
        digest, ledger = only["digest"]["sha256"], predicate["ledger"]
        if not isinstance(digest, str) or type(ledger["records"]) is not int:
            raise TypeError
    except (ValueError, TypeError, KeyError):
        raise AuditError("The report does not say which policies and which ledger it is about.", INVALID) from None
    return digest, predicate
