"""What the control API needs of the running process; wiring gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol

from router.audit.governance.erasing import Who
from router.config.rollouts import RolloutConfig
from router.control.acts import Acts, no_acts
from router.control.cloud_events import CloudEvent
from router.control.judging import Judge, TablePolicy
from router.control.sign_in.parts import SignIn
from router.decision import Subject
from router.errors import AuditError
from router.identity.certificate_callers import CertificateCallers
from router.identity.key_service import KeyService
from router.review.attempting import Asked

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """`next` goes on where this ends, None at the end. `complete_to`: how many records of the ledger an audit answer
    took into account."""

    items: Sequence[Json]
    next: str | None = None
    complete_to: int | None = None


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """None means any. Times are Unix nanoseconds, `since_ns` included and `until_ns` excluded; confidences 0..1, both ends included."""

    since_ns: int | None = None
    until_ns: int | None = None
    subject: str | None = None
    intent: str | None = None
    route: str | None = None
    effect: str | None = None
    reason: str | None = None
    risk: str | None = None
    tenant: str | None = None
    kind: str | None = None
    result: str | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    decision_id: str | None = None
    trace_id: str | None = None
    where: str | None = None


Opening = Literal["none", "masked", "opened"]
"""What becomes of personal fields: left out, named without their values, or opened."""


class Audit(Protocol):
    """`reader` is the subject id of who asks: reading the trail is itself recorded, before it is answered. Raises AuditError; RefusedError
    for a bad cursor, a bad condition and what cannot be counted by."""

    async def query(
        self, filters: AuditFilters, cursor: str | None, limit: int, reader: str, newest_first: bool = True, opening: Opening = "none"
    ) -> Page: ...

    async def newer(self, filters: AuditFilters, after: int, limit: int, reader: str) -> Page | None:
        """The newest records that match and come after that index; None where there are none: nothing was read then, and nothing is
        recorded."""

    async def statistics(self, filters: AuditFilters, by: Sequence[str], bucket: str | None, reader: str) -> Json:
        """`records`, `complete_to` and `groups`."""

    async def distribution(self, filters: AuditFilters, by: str, bins: int, reader: str) -> Json:
        """Confidences: `records`, `complete_to` and `groups`, each with `counts` of as many equal steps from 0 to 1."""

    async def saved(self) -> Sequence[Json]:
        """The saved questions: `name`, `question` and what else the file has. Raises ConfigError."""

    async def ask(
        self, name: str, given: Mapping[str, str], cursor: str | None, limit: int, reader: str, opening: Opening = "none"
    ) -> Json:
        """`records`, `next` and `complete_to`, or statistics; `instead` where another command answers. Raises ConfigError."""

    async def show(self, identifier: str, reader: str, opening: Opening = "none") -> Json | None:
        """Everything recorded about one decision, trace or request; None when there is none."""

    async def bundle(self, decision_id: str, outside: str | None, reader: str) -> Json | None:
        """A decision's records with their proofs, nothing personal opened; None when there is none. `outside` is a checkpoint's note that
        somebody kept; RefusedError when it is none."""

    async def certificate(self, filters: AuditFilters, reader: str, opening: Opening = "none") -> BinaryIO:
        """A file from its beginning, which is gone once it is closed: the answer with what proves that it is whole. RefusedError where no
        certificate can be made of the question."""

    async def checkpoint(self) -> Json:
        """The latest signed checkpoint: `origin`, `size`, `root`, `note`; with witnesses also `witnessed`, the latest one that enough of
        them confirmed: `size`, `note`, or None."""


class Reviews(Protocol):
    """Raises ReviewError: `review_not_found`, `self_approval`, `not_requester`, `reviewer_role_missing`, `review_denied`,
    `review_unjudged`, `review_store_unavailable`; other codes are a conflict of state."""

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        """`tenant`: those of requests of that tenant's; of all without."""

    async def get(self, review_id: str) -> Json | None: ...

    async def approve(self, review_id: str, reviewer: Subject, comment: str, content_digest: str, version: int | None = None) -> Json:
        """`content_digest` and `version` are of what the reviewer saw; anything else is refused."""

    async def reject(self, review_id: str, reviewer: Subject, comment: str, version: int | None = None) -> Json: ...

    async def question(self, review_id: str, asker: Subject) -> Json:
        """What a reviewer asks, for who asked for the request and for nobody else: `question`, None where nothing is open; `respond_by`."""

    async def values(self, review_id: str, reviewer: Subject) -> Json:
        """What this reviewer may change of it, as it is: `id, version, content_digest, values, more`. The reading is on record; who may not
        change it is told nothing."""

    async def modified(self, review_id: str, reviewer: Subject, asked: Asked) -> Json:
        """As `values`, with what it would become by `asked`, which changes nothing: `becomes`."""

    async def attempt(self, review_id: str, reviewer: Subject, asked: Asked) -> Json:
        """What a reviewer, or who asked for the request, tries; the same asked for again says the same."""


class DeliveryDesk(Protocol):
    """Raises AuditError; RefusedError `delivery_not_found`, `delivery_not_dead`. `by_key` is the id of the credential of who asks."""

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        """`state` is `pending` or `dead`; with a `tenant` only what is known to be that one's."""

    async def get(self, delivery_id: str) -> Json: ...

    async def retry(self, delivery_id: str, by_key: str) -> Json: ...

    async def drop(self, delivery_id: str, by_key: str) -> Json: ...


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` is public: a reason code or a short sentence without names or addresses."""

    name: str
    ok: bool
    detail: str = ""


class Status(Protocol):
    async def ready(self) -> Sequence[Check]: ...

    def warnings(self) -> Sequence[str]:
        """What is to be looked at and stops nobody; public, as a check's detail is."""

    async def metrics(self) -> str:
        """Prometheus text format."""

    def describe(self) -> Json:
        """Digests and versions of what runs; nothing secret."""

    async def pending(self) -> Json:
        """What a reload would change now, by key and without secrets, and why it would be refused."""

    async def reload(self) -> Json:
        """Validates and swaps the configuration; answers like `describe`. Raises ConfigError, after which the last good one runs on."""


class EvidenceTaker(Protocol):
    async def take(self, events: Sequence[CloudEvent], sender: str, key_id: str) -> Sequence[Json]:
        """Receipts, once every event is durable; of those that were recorded before, what was answered then. `sender` is a subject id,
        `key_id` that of its credential. Raises AuditError; RefusedError `evidence_conflict`, after which nothing was recorded."""


class _NoEvidence:
    """For a control API without a ledger, as in tests."""

    async def take(self, events: Sequence[CloudEvent], sender: str, key_id: str) -> Sequence[Json]:
        raise AuditError("There is no ledger that evidence could be recorded in.", "audit_closed")


class Reconciler(Protocol):
    async def reconcile(self, cursor: str | None, grace: float, reader: str) -> Page:
        """What does not fit among the next records. `grace`: seconds for which an outcome is not missed. Raises AuditError."""


class _NoReconciler:
    """As above."""

    async def reconcile(self, cursor: str | None, grace: float, reader: str) -> Page:
        raise AuditError("There is no ledger that could be reconciled.", "audit_closed")


class Governance(Protocol):
    """Erasure and legal holds. Each answer is the record that says what was done (`record`, `leaf`) under a checkpoint that was signed for
    it at once (`checkpoint`, `inclusion`). Raises AuditError, ReviewError."""

    async def erase(self, subject: str, reason: str, who: Who) -> Json: ...

    async def hold(self, on: str, target: str, who: Who) -> Json:
        """`on` is `subject`, `decision` or `intent`."""

    async def release(self, record: int, who: Who) -> Json: ...

    async def holds(self, on: str | None, target: str | None) -> Sequence[Json]:
        """All, or those on this very target."""

    async def prune(self, who: Who) -> Json:
        """A bounded part of what is due; `more` says that there is more."""


class PolicyRollouts(Protocol):
    """Raises RefusedError, ConfigError for policies that cannot be used, AuditError, StateError. `by` is who asks."""

    async def list(self, limit: int) -> Sequence[Json]: ...

    async def show(self, rollout_id: str) -> Json: ...

    async def propose(self, archive: bytes, plan: RolloutConfig | None, by: Subject, comment: str) -> Json:
        """Without a plan by the configuration's."""

    async def approve(self, rollout_id: str, by: Subject, digest: str, comment: str) -> Json: ...

    async def reject(self, rollout_id: str, by: Subject, comment: str) -> Json: ...

    async def withdraw(self, rollout_id: str, by: Subject, comment: str) -> Json: ...

    async def advance(self, rollout_id: str, by: Subject, comment: str) -> Json: ...

    async def roll_back(self, rollout_id: str, by: Subject, comment: str) -> Json: ...

    async def versions(self) -> Json:
        """`versions` and `override`."""

    async def go_back(self, to: str, by: Subject, comment: str) -> Json: ...


class Nodes(Protocol):
    async def list(self) -> Json:
        """`nodes` as they are now, and their `skew`. Raises AuditError."""


class OwnNode(Protocol):
    """`names`: by which this node is asked about itself. Raises AuditError."""

    @property
    def names(self) -> frozenset[str]: ...

    @property
    def state(self) -> str:
        """`serving`, `draining` or `drained`."""

    async def show(self) -> Json:
        """As `models.NodeState` has it."""

    async def drain(self, by: Subject, by_key: str, reason: str) -> Json:
        """On record before it is done; what is so already stays so, and is not recorded again. `resume` likewise."""

    async def resume(self, by: Subject, by_key: str, reason: str) -> Json: ...


class Objectives(Protocol):
    def document(self) -> Json | None:
        """`at`, `every_s` and `objectives` as of the last look; None where all are switched off."""


class Indexing(Protocol):
    async def sign(self) -> Json:
        """The record that signs what was in no section of the index yet (`record`, `leaf`), under a checkpoint that was signed for it at
        once (`checkpoint`, `inclusion`). Raises AuditError."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command of `lockgate policy` answered: its JSON and its exit status, 0 or 1; or the sentences of what it could not use."""

    status: int
    answer: bytes
    faults: Sequence[str] = ()


class PolicyTrials(Protocol):
    """Policies of strangers, in processes of their own. Raises RefusedError `policy_busy`, `policy_trial_ended`, `replay_too_large`."""

    def slot(self) -> AbstractContextManager[None]:
        """Around reading what is to be tried and trying it. Raises RefusedError where too many are at it."""

    async def run(self, command: str, options: Sequence[str], files: Mapping[str, bytes]) -> Ran:
        """`files`: the archives `bundle`, `before` and `cases`, the documents `input`, `inputs` and `ratchet`. `new` takes the policies in
        force where it is given no bundle."""

    async def replay(self, filters: AuditFilters, bundle: bytes | None, reader: str) -> Ran:
        """Of the policies in force without a bundle. Recorded before anything is opened. Raises AuditError."""


class Learning(Protocol):
    """Raises RefusedError, AuditError, StateError. `by` is who asks."""

    async def say(self, decision_id: str, said: Mapping[str, str], by: Subject) -> Json:
        """`said` has `verdict`, `intent`, `reason` and `comment`. Durable and recorded when it answers."""

    async def opinions(self, decision_id: str) -> Json:
        """`decision_id`, `opinions`, `disagreement`."""

    def hears_reviews(self) -> bool:
        """Whether what reviewers decide may say something of the intent."""

    async def feedback(self, verdict: str | None, cursor: str | None, limit: int) -> Page: ...

    @property
    def proposals(self) -> LearnedProposals: ...


class Labels(Protocol):
    """Sampled decisions that people label. Raises RefusedError, AuditError, StateError. `by` is who asks."""

    def within(self, tenant: str) -> Labels:
        """Of one tenant's decisions."""

    async def list(self, by: Subject, cursor: str | None, limit: int) -> Page:
        """Those that this person may label."""

    async def claim(self, by: Subject) -> Json | None:
        """The next with its masked text, which is on record; None where there is none."""

    async def shown(self, task_id: str, by: Subject) -> Json:
        """What this person has claimed, once more, which is on record; its text is None where it can no longer be opened."""

    async def answer(self, task_id: str, label: str, by: Subject) -> Json:
        """Durable and recorded when it answers."""

    async def skip(self, task_id: str, by: Subject) -> Json: ...

    async def name(self, decision_id: str, label: str, by: Subject) -> Json:
        """What a decision is about, so that it can be seeded. Durable and recorded when it answers, as `withdraw`."""

    async def withdraw(self, decision_id: str, by: Subject) -> Json: ...

    async def named(self, cursor: str | None, limit: int) -> Page:
        """What was named or withdrawn, oldest first."""

    async def reviewers(self, since_ns: int | None, until_ns: int | None, by: Subject, span_ns: int = ...) -> Json:
        """How people labelled in that time (without a beginning, so long before its end), by their keys; on record when it answers."""

    async def sampled(self) -> Json:
        """How many were taken, and of those that were not, how many for which reason."""


class Quality(Protocol):
    """What labelled samples say of the classifier. Raises StateError."""

    def within(self, tenant: str) -> Quality:
        """Of one tenant's decisions."""

    async def measured(self, since_ns: int, until_ns: int, basis: str) -> Json:
        """Of decisions from then up to then; by `random` samples alone, or `weighted` by all of them. `more`: there were too many to look
        at all of them, and these are the newest."""


class LearnedProposals(Protocol):
    """Raises RefusedError, AuditError, StateError. `by` is who asks."""

    @property
    def drafts(self) -> bool:
        """Whether a language model may be asked for words."""

    async def draft(self, wanted: Json, by: Subject) -> Json: ...

    async def suggest(self, by: Subject) -> Json:
        """`suggested`, and of everything that was `considered` why, or why not."""

    async def word(self, proposal_id: str, by: Subject) -> Json:
        """With words that a language model drafted, beside its own."""

    async def edit(self, proposal_id: str, words: Json, by: Subject) -> Json:
        """`name`, `description` and `rationale`; None stays as it is."""

    async def adopt(self, proposal_id: str, by: Subject, comment: str) -> Json: ...

    async def list(self, state: str | None, cursor: str | None, limit: int) -> Page: ...

    async def show(self, proposal_id: str, by: Subject, *, personal: bool) -> Json: ...

    async def evaluate(self, proposal_id: str, by: Subject) -> Json: ...

    async def approve(self, proposal_id: str, by: Subject, binding: str, comment: str, override: str) -> Json: ...

    async def reject(self, proposal_id: str, by: Subject, comment: str) -> Json: ...

    async def roll_out(self, proposal_id: str, by: Subject, comment: str) -> Json: ...

    async def revert(self, proposal_id: str, by: Subject, comment: str) -> Json: ...

    async def export(self, proposal_id: str, by: Subject) -> Json:
        """`id` and `patch`."""

    async def topics(self, by: Subject) -> Json:
        """`topics`, and how many `texts` were looked at."""


Record = Callable[[str, Json], Awaitable[None]]
Alarm = Callable[[str, str, int], Awaitable[Sequence[str]]]


async def _nobody_told(mark: str, case: str, until_ns: int) -> Sequence[str]:
    """For a control API without channels."""
    return ()


async def _unrecorded(event: str, details: Json) -> None:
    """For a control API without a ledger, as in tests."""


@dataclass(frozen=True, slots=True)
class ControlServices:
    """`hosts`: the names by which the listener may be called; None accepts any, which is right only where it is not on loopback.
    `record(event, details)` puts what administrators do into the ledger; the details hold key ids and scopes, nothing personal.
    `rules` gives the policies in force, Rego by its path; `verifier` is the ledger's public key as a verifier line.
    `alarm(mark, case, until_ns)` has people told that the glass is broken, durably, and returns through whom; raises ReviewError."""

    audit: Audit
    reviews: Reviews
    keys: KeyService
    status: Status
    hosts: frozenset[str] | None = field(default=frozenset({"127.0.0.1", "localhost", "[::1]"}))
    record: Record = _unrecorded
    evidence: EvidenceTaker = field(default_factory=_NoEvidence)
    reconciler: Reconciler = field(default_factory=_NoReconciler)
    governance: Governance | None = None
    indexing: Indexing | None = None
    policies: PolicyTrials | None = None
    rollouts: PolicyRollouts | None = None
    nodes: Nodes | None = None
    node: OwnNode | None = None
    deliveries: DeliveryDesk | None = None
    sign_in: SignIn | None = None
    acts: Acts = field(default_factory=no_acts)
    own_tenant: bool = False  # whether who belongs to a tenant sees and changes only what is that tenant's
    judge: Judge = field(default_factory=lambda: Judge(TablePolicy(), plain=True))
    rules: Callable[[], Mapping[str, str]] | None = None
    verifier: str = ""
    learning: Learning | None = None
    labels: Labels | None = None
    certificates: CertificateCallers | None = None
    alarm: Alarm = _nobody_told
    quality: Quality | None = None
    objectives: Objectives | None = None
