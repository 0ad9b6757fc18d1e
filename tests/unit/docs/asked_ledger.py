"""A ledger about which the answers are known: one story for each of the twenty questions, written with the functions that write records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.files import ensure_sealing_key, ensure_signing_key
from router.audit.questions.reading import EVENT, Reading
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.audit.tree.checkpoint import NoteSigner
from router.decision import Classification, Decision, Effect, Level, Outcome, Reason, Result, Risk, Route, Status, TraceContext, Verdict
from router.ports import Change, Entry, Held, Review
from router.review.approving import counted
from router.review.attempts import Reviewer
from router.review.records import dispatching, ended, expired, held_change, taken
from router.review.state import Event
from tests.unit.audit.samples import DECISION, REQUEST, SUBJECT

NS = 1_000_000_000
MINUTE, HOUR = 60 * NS, 3600 * NS
BEGIN = 1_763_971_200 * NS  # 2025-11-24T08:00:00Z
ANNA, BOB, ERIK = "anna.berg@halden.example", "bob.lund@halden.example", "erik.dahl@halden.example"
CLEO, DAN, AUDREY = "cleo.ek@halden.example", "dan.falk@halden.example", "audrey.ohm@halden.example"
ROUTED = Outcome(Result.ROUTED, 200, "", "http://127.0.0.1:9001", 1, 20_000_000, 30_000_000, "cd" * 32, 200)
DENIED = Outcome(Result.DENIED, 403, "policy_denied", total_ns=5_000_000)


def number(index: int) -> str:
    return f"019ab9d0-1111-7000-8000-{index:012d}"


@dataclass
class Ledger:
    """`ids` are decisions by what they are about."""

    folder: Path
    keys: KeyFile
    journal: Journal
    now: int = BEGIN
    count: int = 0
    records: int = 0
    model: str = "a1" * 32
    ids: dict[str, str] = field(default_factory=dict)

    def key(self, subject: str) -> tuple[str, bytes]:
        return self.keys.ensure([subject])[subject]

    def write(self, *entries: Entry, after: int = MINUTE) -> None:
        self.journal.append(entries)
        self.records += len(entries)
        self.now += after

    def decide(self, name: str, subject: str = ANNA, outcome: Outcome | None = ROUTED, *, later: bool = True, **changes: Any) -> Decision:
        """The outcome is a record of its own when it comes `later`, else the decision's."""
        self.count += 1
        made = decided(self, subject, None if later else outcome, changes)
        self.ids[name] = made.id
        key_id, key = self.key(subject)
        self.write(decision_entry(made, b'{"entry":"decision","version":1}', key_id, key))
        if outcome is not None and later:
            self.write(outcome_entry(made.id, outcome, self.now, key_id, key))
        return made

    def hold(self, name: str, subject: str = ANNA, **changes: Any) -> Review:
        held = Outcome(Result.HELD, 202, "review_required", total_ns=4_000_000)
        verdict = Verdict(Effect.REVIEW, (Reason("risk.high"),), revision="r7", digest="f0" * 32, engine="embedded")
        made = self.decide(name, subject, held, later=False, **{"verdict": verdict, "risk": Risk(Level.HIGH, 0.8), **changes})
        key_id, key = self.key(subject)
        summary = {"reasons": ["risk.high"], "reviewers": ["manager"], "quorum": 1}
        until, whose = self.now + 8 * HOUR, (key_id, b"", summary)
        terms = Held(made.id, "ef" * 32, self.now, until, "payment.cancel", "payments", "payments-service", "high", "halden", *whose)
        change = held_change(terms, self.now, key)
        self.write(*change.entries, after=0)
        return Review(terms, "pending", (change,))

    def judge(self, review: Review, event: Event, who: str, after: int, comment: str = "") -> Review:
        self.now += after
        key_id, key = self.key(who)
        return self._moved(review, self._taken(review, event, Reviewer(who, key_id, ("manager",)), key, comment))

    def _taken(self, review: Review, event: Event, reviewer: Reviewer, key: bytes, comment: str) -> Change:
        return taken(review, event, self.now, reviewer, key, comment, approvals=counted(review) + 1)

    def expire(self, review: Review) -> Review:
        self.now = review.held.expires_ns + MINUTE
        return self._moved(review, expired(review, self.now))

    def send(self, review: Review, event: Event = Event.DISPATCHED) -> Review:
        return self._moved(review, dispatching(review, event, self.now))

    def done(self, review: Review) -> Review:
        return self._moved(review, ended(review, Event.DONE, self.now, ROUTED, self.key(ANNA)))

    def system(self, event: str, details: Mapping[str, Any], after: int = MINUTE) -> None:
        self.write(system_entry(event, self.now, details), after=after)

    def read(self, who: str, reading: Reading) -> None:
        self.system(EVENT, reading.details(self.key(who)[0]))

    def checkpoint(self) -> str:
        self.journal.sign_checkpoint()
        return sorted((self.folder / "checkpoints").iterdir())[-1].read_text(encoding="utf-8")

    def _moved(self, review: Review, change: Change) -> Review:
        self.write(*change.entries)
        return replace(review, state=change.after, history=(*review.history, change))


def decided(ledger: Ledger, subject: str, outcome: Outcome | None, changes: dict[str, Any]) -> Decision:
    told = dict(changes)
    classified = replace(DECISION.classification, model_digest=ledger.model, tier="encoder", rule=None, **told.pop("classified", {}))
    trace = TraceContext(f"{ledger.count:032x}", "b2" * 8, True)
    caller = replace(SUBJECT, id=subject, tenant=told.pop("tenant", "halden"))
    request = replace(REQUEST, id=number(900 + ledger.count), trace=trace, subject=caller, received_ns=ledger.now - 1000)
    plain: dict[str, Any] = {
        "signals": replace(DECISION.signals, unknown=told.pop("unknown", ())),
        "risk": Risk(Level.LOW, 0.1),
        "verdict": Verdict(Effect.ALLOW, (Reason("rbac.granted"),), revision="r7", digest="f0" * 32, engine="embedded"),
        "route": Route("payments", "payments-service", "intent"),
        **told,
    }
    return replace(
        DECISION, id=number(ledger.count), request=request, classification=classified, decided_ns=ledger.now, outcome=outcome, **plain
    )


def make(folder: Path) -> Ledger:
    """Writes `state` in `folder`, and checkpoints as somebody elsewhere would have kept them, in `kept`."""
    state, kept = folder / "state", folder / "kept"
    kept.mkdir()
    keys = KeyFile(state / "keys.sqlite", ensure_sealing_key(state / "keys" / "sealing.key"))
    keys.open()
    signer = NoteSigner("lockgate.example/ledger", ensure_signing_key(state / "keys" / "ledger.key"))
    journal = Journal(SqliteStore(state / "ledger.sqlite"), Checkpointing(signer, state / "checkpoints", 3600, 10_000))
    journal.open()
    ledger = Ledger(state, keys, journal)
    _first_day(ledger)
    (kept / "first.note").write_text(ledger.checkpoint(), encoding="utf-8")
    _second_day(ledger)
    (kept / "second.note").write_text(ledger.checkpoint(), encoding="utf-8")
    journal.close()
    keys.close()
    return ledger


def _first_day(ledger: Ledger) -> None:
    ledger.system("started", {"version": "0.1.0", "config_digest": "10" * 32, "catalog_digest": "d0" * 32, "policy_digest": "f0" * 32})
    ledger.decide("plain")
    ledger.decide("unsure", classified={"confidence": 0.65, "threshold": 0.6})
    ledger.decide("bold", BOB, risk=Risk(Level.HIGH, 0.8))
    _reviews(ledger)
    ledger.decide("lost", outcome=None)


def _reviews(ledger: Ledger) -> None:
    slow = ledger.judge(ledger.hold("approved"), Event.APPROVED, CLEO, 40 * MINUTE, "checked with the payer")
    ledger.done(ledger.send(ledger.send(slow), Event.REDISPATCHED))
    ledger.judge(ledger.hold("rejected"), Event.REJECTED, CLEO, 2 * HOUR, "not this account")
    ledger.done(ledger.send(ledger.judge(ledger.hold("stamped", BOB), Event.APPROVED, DAN, 3 * NS)))
    ledger.judge(ledger.hold("own", DAN), Event.APPROVED, DAN, 5 * MINUTE)
    ledger.expire(ledger.hold("expired"))
    ledger.hold("waiting", BOB)


def _second_day(ledger: Ledger) -> None:
    ledger.now = BEGIN + 24 * HOUR
    ledger.model = "a2" * 32
    ledger.system("config_changed", {"config_digest": "11" * 32, "catalog_digest": "d0" * 32, "policy_digest": "f1" * 32})
    _failures(ledger)
    _again(ledger)
    key_id = ledger.key(ERIK)[0]
    ledger.decide("erik", ERIK)
    ledger.keys._open.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))
    ledger.system("subject_erased", {"key_id": key_id, "reason": "gdpr_art_17", "records": 2})
    ledger.read(AUDREY, Reading("records", "tenant = 'halden'", 12, opened=True))
    ledger.read(AUDREY, Reading("export", "kind = 'decision'", 40, exported="file", source="cli"))
    ledger.read(CLEO, Reading("stats", "kind = 'decision' by intent", 40))


def _failures(ledger: Ledger) -> None:
    gone = replace(_UNAVAILABLE, model_digest=ledger.model)
    away = {"status": gone.status, "intent": None, "confidence": None, "margin": None, "reason": gone.reason, "candidates": ()}
    abstained = Outcome(Result.ABSTAINED, 422, "encoder_unavailable", total_ns=9_000_000)
    ledger.decide("closed", outcome=abstained, later=False, classified=away, route=None)
    ledger.decide("fallback", classified=away, route=Route("helpdesk", "desk", "abstain"))
    ledger.decide("upstream", BOB, Outcome(Result.FAILED, 504, "upstream_timeout", "http://127.0.0.1:9001", 3, NS, 3 * NS), tenant="lund")
    refused = Verdict(Effect.DENY, (Reason("policy_late"),), revision="r8", digest="f1" * 32, engine="embedded")
    ledger.now += HOUR
    ledger.decide("policy", outcome=DENIED, later=False, verdict=refused, route=None)
    blind = replace(refused, reasons=(Reason("signals.unknown"),))
    ledger.decide("blind", outcome=DENIED, later=False, verdict=blind, route=None, unknown=("pii.iban",))
    ledger.system("refused", {"audit_disk_full": 7, "rate_limited": 3})
    ledger.system("stopped", {}, after=10 * MINUTE)
    ledger.system("started", {"version": "0.1.0", "config_digest": "11" * 32})


def _again(ledger: Ledger) -> None:
    """A delivery that was given up and sent again by order, a caller's repetition, and a broker's message that was no event."""
    given_up = Outcome(Result.FAILED, 410, "upstream_refused", "http://127.0.0.1:9001", 1, NS, NS)
    twice = ledger.decide("retried", BOB, given_up)
    ledger.system("delivery_retried", {"decision": twice.id, "by_key": "k-1"})
    ledger.write(outcome_entry(twice.id, ROUTED, ledger.now, *ledger.key(BOB)))
    ledger.decide("repeated", BOB, Outcome(Result.ROUTED, 200, "idempotency_replayed", total_ns=4_000_000))
    ledger.decide("keyless", BOB, Outcome(Result.DENIED, 400, "idempotency_key_missing", total_ns=4_000_000))
    buried = {"source": "orders", "reason": "event_invalid", "tries": 5, "bytes": 8}
    personal = {"content_digest": "ab" * 32, "place": "orders/7"}
    ledger.write(system_entry("event_buried", ledger.now, buried, number(990), personal, *ledger.key(BOB)))


_UNAVAILABLE = Classification(Status.UNAVAILABLE, reason="encoder_unavailable")
