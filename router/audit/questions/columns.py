"""What can be asked of a record: the columns of the index, by name, and of which kind each is. Nothing else reaches a query.

Values as the index keeps them: words as they stand in the leaf, scores in millionths, durations and times in nanoseconds, flags 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from router.decision import Level

NS = 1_000_000_000
MILLIONTHS = 1_000_000
LARGEST = 2**53 - 1
LAST_NS = 2**63 - 1
LEVELS = tuple(level.value for level in Level)


class Kind(StrEnum):
    WORD = "word"
    WORDS = "words"  # several; a comparison asks whether one of them is such
    LEVEL = "level"  # a word with an order: low < medium < high < critical
    ID = "id"  # names one of very many; compared for equality only
    SCORE = "score"
    COUNT = "count"
    DURATION = "duration"
    TIME = "time"
    FLAG = "flag"


WORDLY = frozenset({Kind.WORD, Kind.WORDS, Kind.LEVEL})


@dataclass(frozen=True, slots=True)
class Column:
    """`inherited`: outcomes, reviews and evidence have their decision's value too. `late`: a decision takes it over from the records
    that follow."""

    name: str
    kind: Kind
    about: str
    inherited: bool = False
    late: bool = False


def _column(name: str, kind: Kind, about: str, how: str = "") -> Column:
    return Column(name, kind, about, "i" in how, "l" in how)


K = Kind
_ALL = (
    _column("time", K.TIME, "when it was recorded"),
    _column("kind", K.WORD, "decision, outcome, review, system, evidence; unreadable where the leaf is damaged"),
    _column("decision_id", K.ID, "the decision that it belongs to"),
    _column("trace_id", K.ID, "W3C trace id, 32 hex digits", "i"),
    _column("request_id", K.ID, "the request's id", "i"),
    _column("key_id", K.ID, "key of the person it is about or by; `--subject` asks for it by name"),
    _column("intent", K.WORD, "the accepted or likeliest intent", "i"),
    _column("runner_up", K.WORD, "the second candidate", "i"),
    _column("classification", K.WORD, "classified, ambiguous, out_of_scope, undetermined, unavailable, skipped", "i"),
    _column("confidence", K.SCORE, "calibrated probability that the intent is right", "i"),
    _column("margin", K.SCORE, "how far the runner-up is behind", "i"),
    _column("threshold", K.SCORE, "the confidence that was needed", "i"),
    _column("scope", K.SCORE, "probability that the text is about any intent"),
    _column("novelty", K.SCORE, "share of held-out texts that looked more familiar"),
    _column("injection", K.SCORE, "probability that the text gives orders to the machine"),
    _column("tier", K.WORD, "which tier answered: rule, static, encoder, llm", "i"),
    _column("rule", K.WORD, "the deterministic rule that matched"),
    _column("cached", K.FLAG, "the classification came from the cache"),
    _column("model_digest", K.WORD, "the model", "i"),
    _column("calibration_digest", K.WORD, "its calibration", "i"),
    _column("catalog_digest", K.WORD, "the catalog; a start or a change of configuration has it as well", "i"),
    _column("config_digest", K.WORD, "the configuration; a start or a change of configuration has it as well", "i"),
    _column("bundle_revision", K.WORD, "revision of the policies", "i"),
    _column("bundle_digest", K.WORD, "digest of the policies", "i"),
    _column("engine", K.WORD, "the policy engine"),
    _column("risk", K.LEVEL, "low < medium < high < critical", "i"),
    _column("risk_score", K.SCORE, "the score behind the level"),
    _column("admission", K.WORD, "effect of the policy before classification"),
    _column("effect", K.WORD, "the verdict: allow, deny, review, reroute", "i"),
    _column("reason", K.WORDS, "reason codes of admission, classification, verdict, outcome; why a broker's message was put aside"),
    _column("obligation", K.WORDS, "names of the obligations"),
    _column("tag", K.WORDS, "what policy tagged the request with"),
    _column("finding", K.WORDS, "names of the signals that were found: pii.iban, secret.aws_key, injection"),
    _column("unknown", K.WORDS, "signals that could not be computed"),
    _column("route", K.WORD, "where it went, by route", "i"),
    _column("destination", K.WORD, "and by destination", "i"),
    _column("why", K.WORD, "what chose the route: rule, intent, abstain, reroute; or its second destination: canary, canary_asked"),
    _column(
        "result", K.WORD, "how it ended, or is now: routed, denied, held, abstained, split, shed, failed; else the record's event", "l"
    ),
    _column("status", K.COUNT, "HTTP status of the answer", "l"),
    _column("upstream", K.WORD, "the address that answered", "l"),
    _column("attempts", K.COUNT, "tries at the upstream", "l"),
    _column("outcomes", K.COUNT, "outcome records of the decision by then", "l"),
    _column("duration", K.DURATION, "from the request to the end of the answer", "l"),
    _column("upstream_duration", K.DURATION, "of which at the upstream", "l"),
    _column("response_bytes", K.COUNT, "length of the answer", "l"),
    _column("complete", K.FLAG, "the answer was sent whole", "l"),
    _column("door", K.WORD, "which front door", "i"),
    _column("method", K.WORD, "HTTP method"),
    _column("content_type", K.WORD, "media type of the body"),
    _column("body_bytes", K.COUNT, "length of the body"),
    _column("truncated", K.FLAG, "the body was not seen whole"),
    _column("tenant", K.WORD, "the caller's tenant", "i"),
    _column("subject_type", K.WORD, "person, service, anonymous", "i"),
    _column("authenticated_by", K.WORD, "api_key, jwt, certificate, delegated, signature, broker, none"),
    _column("event", K.WORD, "what happened, of a review, system or evidence record"),
    _column("review", K.WORD, "a decision's latest review event: held, approved, rejected, expired, released, dispatched", "il"),
    _column("reviewer", K.ID, "key of who approved or rejected, of the review and of its decision", "l"),
    _column("self_review", K.FLAG, "the reviewer is who had asked"),
    _column("held", K.TIME, "since when it waited for a person", "il"),
    _column("deadline", K.TIME, "until when a person could decide", "il"),
    _column("waited", K.DURATION, "from being held to this review event"),
    _column("quorum", K.COUNT, "how many people must approve", "il"),
    _column("reader", K.ID, "key of who read the trail (event audit_read)"),
    _column("reading", K.WORD, "what was read: records, decision, stats, verify, export"),
    _column("source", K.WORD, "by which way it was read: http, cli; where a message that was put aside came from"),
    _column("rows", K.COUNT, "how many records were read"),
    _column("opened", K.FLAG, "personal fields were opened"),
    _column("exported", K.WORD, "where to: terminal, pipe, file, response"),
)
COLUMNS = {column.name: column for column in _ALL}
NAMES = tuple(COLUMNS)
RECORD = Column("record", Kind.COUNT, "the record's number in the ledger, from 0")
"""Asked for like a column, and kept nowhere."""
ALIASES = {
    "verdict": "effect",
    "model": "model_digest",
    "calibration": "calibration_digest",
    "catalog": "catalog_digest",
    "config": "config_digest",
    "bundle": "bundle_digest",
    "revision": "bundle_revision",
}
INHERITED = tuple(column.name for column in _ALL if column.inherited)
LATE = tuple(column.name for column in _ALL if column.late)


def nanoseconds(text: str) -> int:
    """Of a leaf's `2026-11-24T09:45:20.123456789Z`, since 1970; the years 1678 to 2261. Raises ValueError."""
    fraction = text[20:29]
    if len(text) != 30 or text[19] != "." or text[29] != "Z" or not (fraction.isascii() and fraction.isdigit()):
        raise ValueError("not an instant of a leaf")
    found = _second(text[:19]) + int(fraction)
    if not -LAST_NS <= found <= LAST_NS:
        raise ValueError("no instant that 64 bits have room for")
    return found


@lru_cache(maxsize=64)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def column(name: str) -> Column | None:
    """By its name or another word for it; capitals do not matter."""
    known = ALIASES.get(name.lower(), name.lower())
    return RECORD if known == RECORD.name else COLUMNS.get(known)
