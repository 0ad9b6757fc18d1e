"""What a front door needs of one configuration, and the ports that it calls itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from router.decision import Decision, Outcome, Request, Subject
from router.delivery.judging import Terms
from router.dispatch import Dispatcher
from router.doors.addresses import AddressList
from router.doors.body import BodyLimits
from router.doors.cors import Cors
from router.doors.head import Network
from router.identity.certificates import PeerCertificate
from router.pipeline import Part, Stages
from router.ports import Conversations, Held, MakeBeside, Outbound, Repeats, Settled, SubjectKeys
from router.review.waiting import Waits
from router.stages.rules import Looked


class Deciding(Protocol):
    """The pipeline, or two of them while a rollout lasts."""

    @property
    def stages(self) -> Stages: ...

    async def decide(
        self,
        request: Request,
        looked: Looked | None = None,
        *,
        socket: bool = False,
        beside: MakeBeside | None = None,
        splits: bool = False,
        part: Part | None = None,
    ) -> Decision:
        """Raises AuditError, RefusedError."""

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        """Raises AuditError."""


class Authenticator(Protocol):
    async def identify(self, headers: Sequence[tuple[bytes, bytes]], now_ns: int, certificate: PeerCertificate | None = None) -> Subject:
        """`now_ns` is Unix time. Raises IdentityError, StateError."""


class RateLimiter(Protocol):
    async def admit(self, subject: Subject, client: str) -> float | None:
        """None, or seconds until the request would be admitted."""


class Holder(Protocol):
    async def hold(self, decision: Decision, outbound: Outbound, resume: Mapping[str, str] | None = None, patience_s: float = 0.0) -> None:
        """Makes a held request durable. Raises ReviewError."""

    def prepared(self, decision: Decision, outbound: Outbound, key_id: str, key: bytes) -> Held:
        """What `hold` makes durable. The key is the subject's. Raises ReviewError, PolicyError."""


class Observer(Protocol):
    """Telemetry and counted refusals; quick, and never raises."""

    def refused(self, code: str, status: int) -> None: ...

    def preflight(self) -> None:
        """One that was answered; one that was refused is a refusal."""

    def ended(self, decision: Decision, outcome: Outcome | None) -> None:
        """`outcome` is None where the caller only asked for the decision."""


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """What a route wants: whether a key must come, how long (seconds) and how large (bytes) an answer is kept, and whether a request goes
    on when nobody can be asked."""

    required: bool
    seconds: int
    most: int
    open: bool = False


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Of requests for several things: whether one success is enough, whether all or none is dispatched, bytes of each answer."""

    first_success: bool = False
    together: bool = False
    answer: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class ConversationOptions:
    """Where a request names its conversation (header field, or path into its body), how many turns of how many characters are remembered,
    and for how many seconds."""

    header: str
    path: tuple[str, ...]
    turns: int
    chars: int
    seconds: int


@dataclass(frozen=True, slots=True)
class HeldOptions:
    """Of callers whose request is held, in seconds: for how long one may wait for its end, and for how long its answer is kept for him.
    `resumes`: routes on which who asks may be resumed, and for how long that is tried."""

    wait_s: float = 30.0
    keep_s: float = 86_400.0
    resumes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """`visible`: header fields that policy and records see. `streams`, `websockets`, `deduplicating`: names of routes whose body is never
    read before the decision, that accept WebSockets, and whose upstream honours Idempotency-Key.
    `keeping`: by route, what it wants of requests with an Idempotency-Key; `decide_keeping`: what the decide API wants of calls with one.
    None switches `addresses`, `cors`, `steps`, `conversation` and `decide_keeping` off."""

    trusted: tuple[Network, ...] = ()
    limits: BodyLimits = field(default_factory=BodyLimits)
    visible: frozenset[bytes] = frozenset()
    text_paths: tuple[tuple[str, ...], ...] = ()
    sample: float = 0.01
    streams: frozenset[str] = frozenset()
    websockets: frozenset[str] = frozenset()
    deduplicating: frozenset[str] = frozenset()
    keeping: Mapping[str, KeptAnswers] = field(default_factory=dict)
    addresses: AddressList | None = None
    decide_addresses: AddressList | None = None
    decide_keeping: KeptAnswers | None = None
    cors: Cors | None = None
    steps: StepOptions | None = None
    conversation: ConversationOptions | None = None
    held: HeldOptions = field(default_factory=HeldOptions)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything of one configuration that serves requests. The authenticators are for callers of the gateway, of the decide API, and of
    the decide API on somebody else's behalf. A reload swaps it whole; a request keeps the one it began with."""

    pipeline: Deciding
    dispatcher: Dispatcher
    authenticator: Authenticator
    decide_authenticator: Authenticator
    delegate_authenticator: Authenticator
    limiter: RateLimiter
    holder: Holder
    options: DoorOptions
    descriptions: Mapping[str, str] = field(default_factory=dict)
    repeats: Repeats | None = None
    conversations: Conversations | None = None
    keys: SubjectKeys | None = None
    waits: Waits | None = None
    deliveries: Mapping[str, Terms] = field(default_factory=dict)  # by route, of those whose requests are delivered
