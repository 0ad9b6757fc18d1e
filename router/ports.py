"""What the centre needs from the outside. Adapters implement these; the in-memory twins pass the same contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from router.decision import Classification, Decision, Outcome, Subject, Verdict
from router.quick import quickly_made

Headers = list[tuple[bytes, bytes]]


class Clock(Protocol):
    def now_ns(self) -> int:
        """Wall-clock Unix time in nanoseconds."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go backwards; for durations only."""


class Ids(Protocol):
    def new(self) -> str:
        """A fresh, time-ordered, unguessable id (UUIDv7)."""


class Random(Protocol):
    def random(self) -> float:
        """Uniform in [0, 1)."""


class Tier(Protocol):
    """One step of the classification cascade. Raises ClassifierError; never blocks the event loop for long."""

    name: str

    async def classify(self, text: str) -> Classification:
        """`status` CLASSIFIED only if this tier itself stands by its answer; thresholds are applied by the classification stage."""


class Arbiter(Protocol):
    """Asked about a text that no tier stands by. Bounds its own time. Raises ClassifierError, whose code says why it changes nothing; the
    tiers' answer is then what it was."""

    name: str

    def asks(self, judged: Classification) -> bool:
        """Whether this abstention is one that it may be asked about."""

    async def arbitrate(self, text: str, scored: Classification) -> Classification:
        """`scored` are the last tier's scores. The answer is CLASSIFIED, with one of the candidates and a confidence that was measured for
        answers of its kind, or OUT_OF_SCOPE; the stage still asks whether that confidence suffices."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a language model wrote, not yet trusted. `model` is the version that the server says it used; empty if it does not say."""

    text: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Chat(Protocol):
    """A language model, bounded in time, in tokens and in failures. Raises ClassifierError."""

    async def complete(self, system: str, user: str, schema: Mapping[str, Any]) -> Completion:
        """`schema` is the JSON Schema of the answer that is wanted; whether the server holds itself to it is not certain."""


class ChatObserver(Protocol):
    def llm_called(self, result: str, prompt_tokens: int, completion_tokens: int) -> None:
        """After each call and each refusal to make one. `result` is `answered` or the failure's code."""


@dataclass(frozen=True, slots=True)
class Personal:
    """Characters `start` to `end` of a text are personal data of a kind such as `pii.email`; `score` in 0..1."""

    kind: str
    start: int
    end: int
    score: float = 1.0


class Recogniser(Protocol):
    """Finds personal data in a text. Called on the event loop, so that it must be done within milliseconds. Any `str` is accepted."""

    most_chars: int

    def find(self, text: str) -> Sequence[Personal]:
        """By place, none within another. Of a text longer than `most_chars` only the beginning is looked at."""


Intents = str | tuple[str, ...] | None  # the intent that was found, or all that are plausible


class PolicyEngine(Protocol):
    """Evaluates `data.lockgate.<entry>`. Raises PolicyError with a code for undefined, malformed, erroring or late results."""

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        """`entry` is `admission` or `decision`; for `decision` the package of each intent is asked too, by literal path, and the strictest
        verdict wins."""

    @property
    def digest(self) -> str: ...

    @property
    def problem(self) -> str | None:
        """A code while the engine is not healthy; evaluations may go on all the same."""

    async def open(self) -> None:
        """Before the first evaluation. Raises ConfigError with one sentence."""

    async def close(self) -> None: ...


class PolicyObserver(Protocol):
    def policy_asked(self, result: str) -> None:
        """After each evaluation by an engine outside of this process. `result` is `answered` or the failure's code."""

    def policy_health(self, healthy: bool) -> None: ...

    def policy_process(self, what: str) -> None:
        """When a process that evaluates policies was `started`, or is gone: `late`, `broken`, `ended` or `retired`."""

    def policy_compared(self, result: str) -> None:
        """After each evaluation that was put to a second engine: `same`, `different`, `unavailable` or `skipped`."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Arrival:
    """What makes an event the same one. `key`: SHA-256 over tenant, source, id and who sent it with a credential of their own. `answer`:
    what whoever sends it again is told; nothing personal is in it."""

    key: bytes
    answer: bytes


class Due(StrEnum):
    """What is still to be done about a decided request."""

    DISPATCH = "dispatch"
    HOLD = "hold"  # policy wants a human: the request is still to be put where they look


@quickly_made
@dataclass(frozen=True, slots=True)
class Delivery:
    """A decided request that is still to go out. `id` is its decision's; `sealed` the outbound request, encrypted under the subject's key
    `key_id`. Deliveries with the same `order` go out one after the other, in the order of their decisions; without one in any. `owner` has
    it until `leased_ns`, nobody else before `due_ns`; after `until_ns` it is given up. `attempts` that failed, the last one by `reason`.
    `tenant` is the subject's; None also where it was decided before that was kept."""

    id: str
    route: str
    destination: str
    due: Due
    key_id: str
    sealed: bytes
    created_ns: int
    due_ns: int
    until_ns: int
    order: bytes = b""
    owner: str = ""
    leased_ns: int = 0
    attempts: int = 0
    reason: str = ""
    tenant: str | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Settled:
    """A delivery that has ended, by the record of how. `dead`: it was given up after `attempts` that failed, the last one by `reason`, and
    is kept for a person to look at. With an `owner` it has ended only where it is still that one's: who was late and failed ends nothing
    that somebody else took up meanwhile, and who succeeded ends it whoever has it."""

    id: str
    dead: bool = False
    attempts: int = 0
    reason: str = ""
    owner: str = ""


@quickly_made
@dataclass(frozen=True, slots=True)
class Entry:
    """One record for the ledger. `leaf` is canonical JSON (RFC 8785), at most 65,535 bytes, nothing personal. `sealed` is the
    personal part, encrypted under the subject's key `key_id`; it can be erased, the leaf cannot. The rest is durable with the record, in
    one transaction, or not at all: the event that it decides, what is to be delivered because of it, and which delivery it ends."""

    leaf: bytes
    sealed: bytes = b""
    key_id: str = ""
    arrival: Arrival | None = None
    delivery: Delivery | None = None
    settled: Settled | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Beside:
    """What is to be durable together with a decision."""

    arrival: Arrival | None = None
    delivery: Delivery | None = None


MakeBeside = Callable[[Decision, str, bytes], Beside]
"""From a decision, and the id and key that its personal part is sealed under. Called before the record is written; raises nothing."""


class Ledger(Protocol):
    async def append(self, entry: Entry) -> int:
        """Returns the leaf index once the record is fsynced. Raises AuditError, after which it may or may not be in the ledger; with the
        code `event_known` it is not, because its arrival is another record's.
        Safe to call concurrently; concurrent calls share a commit. Order of indexes is order of arrival at the writer."""

    async def ping(self) -> None:
        """Raises AuditError when a record could not be written now."""


class Recorder(Protocol):
    """Makes records durable. Raises AuditError."""

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None: ...

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None: ...


class Arrivals(Protocol):
    async def answer(self, key: bytes) -> bytes | None:
        """What the record that decided this event left for whoever sends it again; None for one that is not known (any more). Raises
        AuditError."""


class Deliveries(Protocol):
    """What is still to go out. Every method raises AuditError when the store does not answer; then it may or may not have written."""

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[Delivery, bytes]]:
        """Takes those that are due and nobody else's, oldest first, of each order only the first; with the subject's key, empty where it
        was destroyed. They are the owner's until `until_ns`."""

    async def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> Sequence[str]:
        """Those that are still the owner's, and now until then."""

    async def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        """After a failed attempt; it is nobody's then. False, and nothing done, where it is not the owner's any more."""

    async def done(self, owner: str, delivery_id: str) -> bool:
        """Removes one that has no outcome to record: what was to be held lies where reviewers look. False as above."""


class SubjectKeys(Protocol):
    async def key_for(self, subject: str) -> tuple[str, bytes]:
        """(key id, 32-byte key) of a subject; made durable before it is first returned. Raises AuditError."""


class SecretStore(Protocol):
    """Where secrets are kept."""

    def read(self, path: str) -> Mapping[str, object]:
        """The fields of the secret at `path`, as they are now. Blocks. Raises SecretError, whose sentence tells nothing of them."""


class SigningKey(Protocol):
    """The Ed25519 key (RFC 8032) that signs the ledger's checkpoints, wherever it lives. Blocks; one thread at a time."""

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes. It stays the same for as long as this object lives."""

    @property
    def remote(self) -> bool:
        """Whether a signature is waited for, so that who writes records must not make one."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes, which the caller verifies. Raises AuditError, after no longer than the key's own time-out."""


@dataclass(frozen=True, slots=True)
class Held:
    """A request held for a human. `content_digest` binds an approval to what is dispatched; `sealed` holds the outbound request
    (method, path, headers, body), encrypted under the subject's key."""

    decision_id: str
    content_digest: str
    created_ns: int
    expires_ns: int
    intent: str | None
    route: str
    destination: str
    risk: str
    tenant: str | None
    subject_key_id: str
    sealed: bytes
    summary: Mapping[str, Any] = field(default_factory=dict)


class ReviewStore(Protocol):
    async def hold(self, held: Held) -> None:
        """Durable when it returns; raises ReviewError."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a held request's way, never altered. `entries` are its records, which go into the ledger after the step is durable here;
    `recorded` says that they are in it. The first one's `key_id` and sealed part say who did it; without them Lockgate did."""

    event: str
    before: str
    after: str
    at_ns: int
    entries: tuple[Entry, ...] = ()
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """A held request with all that became of it. `reply` is the sealed beginning of the upstream's answer. `elsewhere`: another node, which
    lives, did the last step and goes on from it."""

    held: Held
    state: str
    history: tuple[Change, ...]
    reply: bytes = b""
    elsewhere: bool = False

    @property
    def version(self) -> int:
        return len(self.history)


NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ReviewStep:
    """A step of a held request without its records. `key_id` stands for whoever took it; '' for Lockgate."""

    event: str
    at_ns: int
    key_id: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """That a step of this review was taken at that moment, and all its steps."""

    at_ns: int
    decision_id: str
    steps: Sequence[ReviewStep]


class HeldRequests(Protocol):
    """Held requests where the control process keeps them; one process at a time, or those of several nodes, each of which goes on from its
    own steps, and from those of nodes that are gone. What a method wrote is durable when it returns. Every method raises ReviewError when
    the store does not answer; then it may or may not have written, and may be asked again."""

    async def add(self, held: Held, change: Change, *, due_ns: int | None = None) -> None:
        """The same request again changes nothing; another one under its id is a ReviewError `review_conflict`. `due_ns`: when to look at
        it again, its end where that is left out."""

    async def get(self, decision_id: str) -> Review | None: ...

    async def page(self, states: Sequence[str], after: int, limit: int, tenant: str | None = None) -> Sequence[tuple[int, Review]]:
        """Oldest first, each with its place; only those after the place `after`. No states, or no tenant, means any. Sealed parts are left
        out."""

    async def change(
        self,
        decision_id: str,
        version: int,
        change: Change,
        *,
        forget: bool = False,
        reply: bytes = b"",
        held: Held | None = None,
        due_ns: int = NEVER,
    ) -> bool:
        """Compare and set: False, and nothing done, when the review has another version than the one that was read. `forget` removes the
        sealed request for good; `held` takes its place; `due_ns`: when to look at it again."""

    async def unrecorded(self) -> Sequence[tuple[str, int, Change]]:
        """(decision id, number of the step, step) of each step whose records may not be in the ledger and are this node's to append: its
        own steps, and those of nodes that are gone, of which it takes possession; oldest first."""

    async def elsewhere(self, decision_id: str) -> bool:
        """Whether another node, which lives, has yet to append a step's records."""

    async def recorded(self, decision_id: str, number: int) -> None: ...

    async def due(self, now_ns: int, states: Sequence[str]) -> Sequence[str]:
        """Ids of the reviews in these states that are to be looked at by now."""

    async def count(self, states: Sequence[str]) -> int: ...

    async def versions(self, decision_ids: Sequence[str]) -> Mapping[str, int]:
        """Of those that there are."""

    async def stepped(
        self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None = None
    ) -> Sequence[Stepped]:
        """Of each of these steps that was taken at `since_ns`, behind the decision id `after`, or later and before `until_ns`: in that
        order, so that a review comes as often as it has such steps. No tenant means any."""

    async def forget_replies(self, event: str, before_ns: int) -> int:
        """Removes the replies of reviews of which this step was taken before then, for good; how many."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is to be told of a held request; nothing of it is personal. `id` is the same for every sending, so that it is told
    once to who heeds it. Nothing is told after `until_ns`; `keep_ns` is when it need not be remembered any more that it was. `sealed`: what
    an engine gave to be resumed by, under its subject's key."""

    id: str
    review: str
    event: str
    notifier: str
    intent: str
    risk: str
    route: str
    expires_ns: int
    made_ns: int
    due_ns: int
    until_ns: int
    keep_ns: int
    attempts: int = 0
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class NoticesStanding:
    """`oldest_ns`: when the oldest of those that are due and not told yet was due; 0 for none."""

    waiting: int
    oldest_ns: int


class Notices(Protocol):
    """Notices where they survive a crash; of several nodes, whoever leases one tells it. What a method wrote is durable when it returns.
    Every method raises ReviewError when the store does not answer, and may be asked again."""

    async def add(self, notices: Sequence[Notice]) -> None:
        """One that is known stays as it is, also when it was told."""

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[Notice]:
        """Those that are due and nobody else's, the longest due first; `owner`'s until `until_ns`."""

    async def postpone(self, owner: str, notice_id: str, attempts: int, due_ns: int, reason: str) -> bool: ...

    async def end(self, owner: str, notice_id: str, result: str, reason: str) -> bool:
        """`result`: `sent`, `moot` or `failed`. False where it is not `owner`'s any more."""

    async def standing(self, now_ns: int) -> NoticesStanding: ...

    async def rests(self, due_ns: int, after: str, limit: int) -> Sequence[Notice]:
        """Those that are due at that moment exactly, by id, beyond the id `after`."""

    async def hasten(self, notice_id: str, due_ns: int, now_ns: int) -> bool:
        """One that was due at that moment is due now, and for as long as it would have been from when it was made."""

    async def forget(self, now_ns: int) -> int:
        """Removes what need not be kept any more; how many."""


class Notifier(Protocol):
    """Tells people over one channel. `link` leads to where the request is looked at; it does nothing by itself."""

    async def open(self) -> None:
        """Raises ConfigError."""

    async def close(self) -> None: ...

    async def tell(self, notice: Notice, link: str) -> None:
        """Returns once the other side has taken it. Raises DestinationError."""


@dataclass(frozen=True, slots=True)
class LearntText:
    """A text that learning keeps, sealed under the key of whom it is about."""

    name: str
    key_id: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Lesson:
    """Something that learning keeps, of a `kind` (an opinion, a proposal, a label), with what it is `about`: a decision, or nothing.
    `terms` say nothing personal. `version` counts from 1; a lesson that was never stored has 0. `touched_ns`: when somebody last said
    something of it; 0 where nobody did."""

    kind: str
    id: str
    about: str
    state: str
    at_ns: int
    terms: Mapping[str, Any]
    texts: tuple[LearntText, ...] = ()
    version: int = 0
    touched_ns: int = 0


@dataclass(frozen=True, slots=True)
class Approving:
    """What policy says of an approval: whether it may be given, why (code, sentence), how many approvals it takes, roles of which each must
    approve by another person, and whether those given, with this one, are enough."""

    allowed: bool
    reasons: tuple[tuple[str, str], ...]
    approvals: int
    each_of: tuple[str, ...]
    complete: bool


class Lessons(Protocol):
    """Where the control process, or those of several nodes, keep what is learnt. What a method wrote is durable when it returns. Raises
    StateError `learning_store_unavailable`: then it may or may not have written, and may be asked again.

    Records wait beside the lessons until they are in the ledger. Whoever put them has them leased and appends them; once the lease is over
    another one does. A crash between appending and `recorded` appends the same bytes once more."""

    async def put(self, lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool:
        """Compare and set: as version `lesson.version + 1`, where `lesson.version` is the one that is stored (0 where there is none).
        False, and nothing done, where it is not."""

    async def get(self, kind: str, lesson_id: str) -> Lesson | None: ...

    async def about(self, kind: str, what: str) -> Sequence[Lesson]:
        """In the order in which they were put first."""

    async def page(self, kind: str, states: Sequence[str], after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        """In the same order, each with its place; only those after the place `after`. No states means any."""

    async def newest(self, kind: str, before: int | None, limit: int) -> Sequence[tuple[int, Lesson]]:
        """The last that were put first come first, each with its place; only those before the place `before`."""

    async def touched(self, kind: str, since_ns: int, after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        """Those of which something was said at `since_ns`, behind the place `after`, or later: in that order, each with its place. The next
        page begins from the last one's `touched_ns` and place. One that is touched meanwhile may come again."""

    async def sealed_under(self, key_id: str) -> Sequence[Lesson]:
        """Those that have texts under this key."""

    async def unrecorded(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[int, Entry]]:
        """(number, record) of records that are leased to this owner, or to nobody any more, and now are to it; oldest first."""

    async def recorded(self, numbers: Sequence[int]) -> None: ...

    async def waiting(self, kind: str, lesson_id: str) -> bool:
        """Whether a record of this lesson is not in the ledger yet."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Outbound:
    """A request to an upstream. `target` is path plus query, percent-encoded. `body` is bytes when it was buffered (and so can be
    replayed), or an iterator that can be read once. `idempotent` permits retries after bytes were sent."""

    method: str
    target: str
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    idempotent: bool = False
    idempotency_key: str | None = None


class Reply(Protocol):
    """An upstream's response, headers first. The body must be read to the end or `close`d. `work`: by which the destination's `Follower`
    finds again what the request set in motion; empty where nothing goes on."""

    status: int
    headers: Headers
    upstream: str
    attempts: int
    work: str

    def chunks(self) -> AsyncIterator[bytes]:
        """Body bytes as they arrive, undecoded. Raises DestinationError when the upstream vanishes or idles too long."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How work ended. `state` is a word of the adapter's choosing: completed, failed, cancelled, terminated, timed_out; or `unknown`, where
    the engine has forgotten it. `well`: it did what it was to do."""

    state: str
    well: bool


class Follower(Protocol):
    """Asks an engine what became of work that a destination of the same settings set in motion. A destination's module that has such a
    thing makes one by `follower(settings, *, name)`."""

    async def open(self) -> None:
        """Raises ConfigError. An engine that does not answer is no reason to raise."""

    async def close(self) -> None:
        """Also after a failed `open`; twice is harmless."""

    async def ended(self, work: str) -> Ended | None:
        """None while it goes on. Raises DestinationError where the engine does not say, so that it is asked again."""


class Socket(Protocol):
    """A WebSocket to an upstream."""

    subprotocol: str | None

    async def send(self, message: str | bytes) -> None: ...

    async def receive(self) -> str | bytes | None:
        """The next message; None when the upstream closed (see `close_code`)."""

    @property
    def close_code(self) -> int: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class Destination(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None:
        """Also after a failed `open`; twice is harmless."""

    async def ping(self) -> None:
        """Raises DestinationError when no upstream is usable."""

    async def send(self, outbound: Outbound) -> Reply:
        """Retries, balancing, circuit and time-outs happen inside. Raises DestinationError."""

    async def connect(self, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        """Opens a WebSocket. Raises DestinationError; code `websocket_unsupported` where the kind of destination has none."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Incoming:
    """One message as a broker hands it out. `fields` are its header fields, names in lower case; `order` is what messages that must stay in
    order have in common (a partition, a group, a key), empty where there is no such thing. `tries`: how often it was handed out, this time
    included, as far as the broker tells. `place` names it for logs (topic, partition, offset). `token` is the consumer's own.
    `problem`: why it must not be taken for what it says, by code; it is put aside then."""

    content: bytes
    content_type: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    order: bytes = b""
    tries: int = 1
    place: str = ""
    token: Any = None
    problem: str = ""


class Consumer(Protocol):
    """Messages of one queue, topic or stream. A message that is neither acknowledged nor given back comes again, to somebody. Every method
    but `close` raises DestinationError when the broker does not answer; a message may then come again."""

    async def open(self) -> None: ...

    async def close(self) -> None:
        """What was taken and not acknowledged is given back where the protocol can. Also after a failed `open`; twice is harmless."""

    async def ping(self) -> None: ...

    async def take(self, most: int) -> Sequence[Incoming]:
        """At least one and at most so many; waits for the first. Of messages with one `order` they come in that order. Cancelling loses
        nothing."""

    async def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """They never come again, as far as the broker can promise it."""

    async def give_back(self, message: Incoming, after_s: float) -> None:
        """It comes again, not before that where the broker can wait; with an `order`, before what follows it."""

    async def bury(self, message: Incoming, reason: str) -> None:
        """Puts it where undeliverable messages go (the configured dead-letter place), with the reason, and acknowledges it. Durable there
        before it is gone here."""


class Limits(Protocol):
    async def admit(self, key: str, cost: float = 1.0) -> float | None:
        """None when admitted, else seconds until it would be. Raises StateError."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One request's draw on an allowance of `burst` at once and `rate` a second after that."""

    key: str
    rate: float
    burst: float
    cost: float = 1.0


class Allowances(Protocol):
    """Limits that several nodes draw on together."""

    async def draw(self, wanted: Sequence[Draw]) -> tuple[int, float] | None:
        """Draws on one after the other until one refuses; what was drawn before stays drawn. None, or which refuses and in how many seconds
        it would not; infinity for a cost above the burst. Within milliseconds. Raises StateError; any may then have been drawn on."""


class StateObserver(Protocol):
    def state_asked(self, result: str) -> None:
        """After each question to the state that nodes share, and each refusal to ask. `result` is `answered` or the failure's code."""

    def state_health(self, healthy: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` requests of one `key` in any span of `seconds`."""

    key: str
    limit: int
    seconds: int


class Quotas(Protocol):
    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        """Counts one request by all of them, or by none. None when it was counted, else which of them it would exceed, and in how many
        seconds it may not any more. Raises StateError."""


class Told(StrEnum):
    """What a process tells the others of its circuit to an upstream."""

    OPEN = "open"  # too many failures in a row
    PROBE = "probe"  # it probes, or has in vain: it is its turn, whoever opened it
    CLOSED = "closed"  # its probe was answered


@dataclass(frozen=True, slots=True)
class Telling:
    """`lasts`: for so many seconds others should leave the upstream alone."""

    name: str
    what: Told
    lasts: float


@dataclass(frozen=True, slots=True)
class Posted:
    """What stands on the board about one upstream: who said so, and how many seconds it holds for still. Another `version`, other news."""

    open: bool
    lasts: float
    who: str
    version: int


class CircuitBoard(Protocol):
    """Where processes tell each other of upstreams that fail. Advice, which may be forgotten at any time, and is by itself."""

    async def exchange(self, who: str, tellings: Sequence[Telling], names: Sequence[str]) -> Mapping[str, Posted]:
        """Tells, then reads what stands about `names`, at once. Who opened or probed last keeps its turn while it tells of probes; an
        opening under another's that still holds is none; a probe takes the turn over. Raises StateError."""


class CircuitObserver(Protocol):
    def circuit_shared(self, result: str) -> None:
        """After each of `told_open`, `told_closed`, `heard_open`, `heard_closed`, `doubted`; else why an exchange failed, by code."""


class SharedAnswers(Protocol):
    """Classifiers' answers that nodes share. `key` is a digest of everything that an answer depends on. Never raises: without it a model is
    run. What is in it may be forgotten at any time, and only who has the nodes' common secret can put something there."""

    async def get(self, tier: str, key: bytes) -> bytes | None:
        """Within milliseconds. None where there is none, none that is proven to be one of ours, or nobody who says so in time."""

    def put(self, tier: str, key: bytes, answer: bytes) -> None:
        """Beside the request; it may be lost."""


class AnswerObserver(Protocol):
    def answer_shared(self, tier: str, result: str) -> None:
        """After each question for a shared answer: `found`, `missed`, `expired`, `forged`, `late` or `unavailable`; and `told` for each
        that was put there."""


class Turn(StrEnum):
    """What a request with an idempotency key is to those before it."""

    FIRST = "first"
    UNDER_WAY = "under_way"  # the first is
    OTHER = "other"  # the key was used for another request
    ANSWERED = "answered"
    UNANSWERED = "unanswered"  # the first ended, and its answer was not kept


class Repeats(Protocol):
    """Which requests were made before. What is in it may be forgotten at any time; a request is then judged as the first."""

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        """FIRST claims the key for `token`, for so long. With ANSWERED comes the answer. Raises StateError."""

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        """For who claimed it: `answer` is kept for so long, or that there is none to be had. Raises StateError."""

    async def release(self, key: str, token: str) -> None:
        """For who claimed it: the next is the first. Raises StateError."""


class Conversations(Protocol):
    """What was said before, sealed. What is in it may be forgotten at any time."""

    async def read(self, key: str) -> bytes | None:
        """Raises StateError."""

    async def write(self, key: str, sealed: bytes, seconds: int) -> None:
        """Instead of what was there, for so long. Raises StateError."""


class Tallies(Protocol):
    """What nodes use up together. A tally is forgotten some time after it was last counted in."""

    async def take(self, tally: str, who: str, amount: int, most: int | None, most_each: int | None, seconds: int) -> bool:
        """Counts `amount` for one of those who draw on a tally; False, and nothing counted, where all of them would have over `most`, or
        this one over `most_each`. It is known for so many seconds. Raises StateError, after which it may or may not be counted."""

    async def add(self, tally: str, who: str, amount: int) -> None:
        """Counts more, or less where it is below zero. Raises StateError."""


class Marks(Protocol):
    """What nodes have found out about names, for good; one that is lost is found out again."""

    async def find(self, name: str) -> bytes | None:
        """Raises StateError, as all do."""

    async def put(self, name: str, told: bytes) -> None: ...

    async def remove(self, name: str) -> None: ...

    async def all(self) -> Mapping[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: `id` is its public part, `digest` the SHA-256 of its secret part. `subject` is whom it speaks for."""

    id: str
    digest: bytes
    name: str
    subject: Subject
    scopes: frozenset[str]
    created_ns: int
    created_by: str = ""
    expires_ns: int | None = None
    revoked_ns: int | None = None


class ApiKeys(Protocol):
    """Every method raises StateError when the store does not answer. All but `find` may wait for it, and can be called on a thread."""

    def find(self, key_id: str) -> ApiKey | None:
        """Microseconds when the key was seen before; a change made by another process, of any node, shows within about a second."""

    def add(self, key: ApiKey) -> bool:
        """Durable when it returns True; False when the id is taken."""

    def revoke(self, key_id: str, now_ns: int) -> bool:
        """Durable when it returns True; False when there is no such key. The time of the first revocation stays."""

    def all(self) -> Sequence[ApiKey]:
        """Oldest first, revoked and expired ones included."""


@dataclass(frozen=True, slots=True)
class Session:
    """A person who signed in with a browser. `digest` is the SHA-256 of what the browser holds, which is stored nowhere. `subject.claims`
    say who acts for them (`act`), and nothing else. `checked_ns`: when their provider last confirmed who they are and what they may do;
    `authenticated_ns`: when they last proved it to the provider. `issuer` and `issuer_session` (`sid`) name them to the provider, both
    empty for who came with a link of this machine's; `methods` is how they proved it (RFC 8176). `network` and `browser` tell them their
    sessions apart: where from and by what, no more exactly than that takes."""

    digest: bytes
    subject: Subject
    created_ns: int
    used_ns: int
    expires_ns: int
    checked_ns: int
    authenticated_ns: int
    issuer: str = ""
    issuer_session: str = ""
    methods: tuple[str, ...] = ()
    network: str = ""
    browser: str = ""

    @property
    def id(self) -> str:
        """Names it to people and in records; nothing can be done with it."""
        return self.digest[:8].hex()


@dataclass(frozen=True, slots=True)
class Which:
    """Sessions that fit everything that is not None. Nothing but None fits no session at all."""

    digest: bytes | None = None
    subject: str | None = None
    issuer: str | None = None
    issuer_session: str | None = None

    @property
    def told(self) -> dict[str, bytes | str]:
        named = {"digest": self.digest, "subject_id": self.subject, "issuer": self.issuer, "issuer_session": self.issuer_session}
        return {column: value for column, value in named.items() if value is not None}


class Sessions(Protocol):
    """Every method may wait, can be called on any thread, and raises StateError when the store does not answer. What one process changes
    holds for all at once: nothing is remembered."""

    def open(self) -> None: ...

    def close(self) -> None:
        """Twice is harmless."""

    def ping(self) -> None: ...

    def find(self, digest: bytes) -> Session | None: ...

    def add(self, session: Session, most: int, instead: bytes | None = None) -> Sequence[Session]:
        """Durable when it returns. In the same step the session with the digest `instead` ends, those that have expired are forgotten, and
        the oldest of the same subject end until `most` are left; returns which ended for that last reason."""

    def use(self, digest: bytes, now_ns: int) -> None:
        """A session that has ended meanwhile stays ended."""

    def ending(self, which: Which) -> Sequence[Session]:
        """Durable when it returns: from here on they are no sessions, with an `expires_ns` of 0, and are kept until `end` takes them away,
        or for a day. Returns all that fit, those too that were so already: whoever records it names them, however often it was begun."""

    def end(self, which: Which) -> Sequence[Session]:
        """Durable when it returns; returns which ended."""

    def all(self) -> Sequence[Session]:
        """Oldest first; expired ones, and those that are ending, may be among them."""

    def spent(self, mark: bytes, now_ns: int) -> bool:
        """Whether somebody has spent the mark, and its time is not over."""

    def spend(self, mark: bytes, until_ns: int, now_ns: int) -> bool:
        """Durable. True for the first who spends the mark, False for all others until `until_ns`."""
