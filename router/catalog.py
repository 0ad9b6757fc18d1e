"""`catalog.yaml` as frozen models: what may be asked for, where it goes, and what decides it without a classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import re2
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from router.config.blocks import AdapterBlock, OnAbstain
from router.config.cors import Cors
from router.config.costs import Costs
from router.config.listeners import JsonPath, visible_header
from router.decision import Level
from router.settings import Bool, Fraction, Name, Size, Span, Strict, Text, listed

METHOD = re.compile(r"[A-Z][A-Z-]{0,19}")
SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%-]+|\{[a-z][a-z0-9_]*\}")
REST = re.compile(r"\{[a-z][a-z0-9_]*\.\.\.\}")


def method(value: str) -> str:
    if not METHOD.fullmatch(value.upper()):
        raise ValueError("must be an HTTP method such as GET or POST")
    return value.upper()


def path_template(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must begin with '/'")
    *inner, last = value[1:].split("/")
    if not all(SEGMENT.fullmatch(part) for part in inner) or not (last == "" or SEGMENT.fullmatch(last) or REST.fullmatch(last)):
        raise ValueError("must be a path of plain segments, {name} for one segment and a final {name...} for all the rest")
    names = re.findall(r"\{([a-z0-9_]+)", value)
    if len(names) != len(set(names)):
        raise ValueError("has the same {name} twice")
    return value


def literal_path(value: str) -> str:
    if "{" in path_template(value):
        raise ValueError("must be a plain path without any {name}")
    return value


def linear_regex(value: str) -> str:
    """RE2: linear in the length of the text, whoever wrote the text."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        raise ValueError(f"is not a regular expression of RE2: {detail.decode() if isinstance(detail, bytes) else detail}") from None
    return value


Method = Annotated[str, AfterValidator(method)]
Methods = Annotated[tuple[Method, ...], BeforeValidator(listed, json_schema_input_type=Method | tuple[Method, ...])]


Cost = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class Destination(AdapterBlock):
    """A service or workflow that requests can be sent to."""


class Timeouts(Strict):
    """Time-outs of one route, instead of its destination's."""

    connect: Span | None = Field(default=None, description="Longest time to connect.")
    idle: Span | None = Field(default=None, description="Longest pause while the answer is read.")
    total: Span | None = Field(default=None, description="Longest time for the whole exchange.")


class Sla(Strict):
    """What a service promises of its answers."""

    latency: Span | None = Field(default=None, description="Within which 95 of 100 requests are answered.")
    availability: Fraction | None = Field(default=None, description="Share of requests that do not fail.")


class Canary(Strict):
    """A second destination of a route, for a share of its callers."""

    destination: Name = Field(description="Name of the second destination, such as a new version of the first.")
    share: Fraction = Field(default=0.0, description="Share of the callers that go there. One that grows keeps whom it has.")
    by: Literal["subject", "tenant", "client"] = Field(
        default="subject", description="Who always gets the same one: a subject, a tenant, or an address."
    )
    header: Annotated[str, AfterValidator(visible_header)] | None = Field(
        default=None, description="Header field by which testers choose: `canary` or `stable`."
    )
    testers: tuple[Text, ...] = Field(default=(), description="Roles whose holders may choose by `header`.")

    @model_validator(mode="after")
    def _testers_ask(self) -> Self:
        if (self.header is None) != (not self.testers):
            raise ValueError("needs both 'header' and 'testers', or neither")
        return self


class Mirror(Strict):
    """Copies of a route's requests, whose answers nobody sees."""

    destination: Name = Field(description="Name of the destination that gets the copies.")
    share: Fraction = Field(default=1.0, description="Share of the requests that are copied.")


class Promise(Strict):
    """Evidence that a service owes for every request that it was sent."""

    within: Span = Field(default=3600.0, description="Longest time from the request's outcome to evidence of how the work ended.")
    follow: Bool = Field(
        default=False, description="Lockgate itself asks the destination, a workflow engine, how the work ended, and records that."
    )


class Resume(Strict):
    """Engines whose step asks for a decision and is held may be resumed when the review has ended: by what the call gave in `resume`."""

    destination: Name = Field(description="Destination that is told that the request went ahead, or that it may.")
    refused: Name | None = Field(default=None, description="Another one, which is told that it did not; without it the same.")
    within: Span = Field(default=86400.0, description="For how long it is tried to be told.")


class Idempotency(Strict):
    """A request with an `Idempotency-Key` is dispatched once; who repeats it gets the answer that was kept. Keys are each caller's own."""

    required: Bool = Field(default=False, description="Refuse requests without a key (400).")
    keep: Span = Field(default=86400.0, description="How long an answer, and that there was a request, is remembered.")
    answer: Size = Field(default=64 << 10, description="Largest answer that is kept; after a larger one a repetition is refused (409).")
    on_failure: Literal["deny", "allow"] = Field(
        default="deny", description="Without anybody who remembers: refuse with 503, or dispatch, perhaps a second time."
    )


class Delivery(Strict):
    """Requests of a route are accepted (202) once they are durable, and sent until the destination has taken them."""

    patience: Span = Field(default=3 * 86400.0, alias="for", description="How long they are tried; then they are given up, and kept.")
    backoff: Span = Field(default=5.0, description="Longest wait after the first failure; it doubles, and chance shortens it.")
    max_backoff: Span = Field(default=3600.0, description="Longest wait between attempts.")
    order: Literal["none", "subject", "tenant", "route"] = Field(
        default="none", description="Whose requests go one after the other, each when the former is done or given up."
    )


class Route(Strict):
    """A way to a destination."""

    destination: Name = Field(description="Name of the destination.")
    path: Annotated[Text, AfterValidator(literal_path)] | None = Field(default=None, description="Path sent instead of the caller's.")
    method: Method | None = Field(default=None, description="Method sent instead of the caller's.")
    on_abstain: OnAbstain | None = Field(default=None, description="What happens to a request for this route without an accepted intent.")
    timeouts: Timeouts | None = Field(default=None, description="Time-outs of this route.")
    llm: Bool = Field(
        default=False,
        description="Let `classifier.llm` be asked about texts whose likeliest intent goes here, and let it choose such an intent.",
    )
    websocket: Bool = Field(default=False, description="Accept WebSockets; only where a rule on method, path and header decides.")
    stream: Bool = Field(default=False, description="Never read the body before the decision; it is passed on as it comes.")
    deduplicates: Bool = Field(default=False, description="The service honours `Idempotency-Key`, so that any request may be retried.")
    idempotency: Idempotency | None = Field(
        default=None, description="Answer a repeated request, by its `Idempotency-Key`, with the first one's answer."
    )
    cors: Cors | None = Field(
        default=None, description="Instead of the listener's `gateway.cors`, for requests that a rule sends here by method and path."
    )
    canary: Canary | None = Field(default=None, description="A second destination for a share of the callers.")
    mirror: Mirror | None = Field(
        default=None,
        description="Copies of requests, without the caller's credentials; bodies that are longer than `limits.view` are not copied.",
    )
    delivery: Delivery | None = Field(
        default=None, description="Accept requests and deliver them, instead of passing on and answering with the service's answer."
    )
    alternatives: tuple[Name, ...] = Field(
        default=(), description="Routes that policy may choose instead; it is told how they and this one stand (`input.routes`)."
    )
    cost: Cost | None = Field(default=None, description="What a request by this route costs, in a unit of your own; policy is told.")
    sla: Sla | None = Field(default=None, description="What the service promises; policy is told.")
    evidence: Promise | None = Field(
        default=None, description="The service sends evidence of what it did; `lockgate audit reconcile` reports where it did not."
    )
    resume: Resume | None = Field(default=None, description="Who asks may be resumed when what was held has ended. Off unless this is set.")

    @model_validator(mode="after")
    def _delivered_whole(self) -> Self:
        if self.delivery is not None and (self.stream or self.websocket or self.idempotency is not None):
            other = "stream" if self.stream else "websocket" if self.websocket else "idempotency"
            raise ValueError(f"has 'delivery' and '{other}': what is delivered later is whole, and has no answer to keep or pass on")
        return self

    @model_validator(mode="after")
    def _copied_whole(self) -> Self:
        if self.mirror is not None and (self.stream or self.websocket):
            raise ValueError(f"has 'mirror' and '{'stream' if self.stream else 'websocket'}': what is never read cannot be copied")
        return self


class Intent(Strict):
    """Something that people ask for."""

    description: Text = Field(description="What is meant, in a sentence, for people and for models.")
    owner: Text = Field(default="", description="Team that answers for the intent.")
    risk: Level = Field(default=Level.LOW, description="How much harm a wrong or malicious request can do.")
    route: Name = Field(description="Where requests with this intent go.")
    boundaries: tuple[Text, ...] = Field(default=(), description="What the intent is not, and what that is instead.")
    examples: tuple[Text, ...] = Field(default=(), description="Example utterances; at least five different ones, better twenty.")
    examples_file: Text | None = Field(default=None, description="File with one utterance a line, relative to the catalog.")
    min_confidence: Fraction | None = Field(default=None, description="Instead of the listener's `classifier.min_confidence`.")
    min_margin: Fraction | None = Field(default=None, description="Instead of the listener's `classifier.min_margin`.")
    max_error: Fraction | None = Field(default=None, description="Instead of the listener's `classifier.max_error`.")
    costs: Costs | None = Field(default=None, description="Instead of the listener's `classifier.costs`, when this intent is chosen.")
    on_abstain: OnAbstain | None = Field(default=None, description="What happens when this intent is likely and not accepted.")
    tags: tuple[Name, ...] = Field(default=(), description="Words that policies may use.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.examples and self.examples_file:
            raise ValueError("has both 'examples' and 'examples_file'; keep one")
        return self

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if self.max_error is not None and self.costs is not None:
            raise ValueError("has both 'max_error' and 'costs'; keep one")
        return self


class OutOfScope(Strict):
    """Utterances that are about no intent at all."""

    examples: tuple[Text, ...] = Field(default=(), description="Example utterances.")
    examples_file: Text | None = Field(default=None, description="File with one utterance a line, relative to the catalog.")


class Match(Strict):
    """Conditions of a rule; all of them must hold."""

    method: Methods = Field(default=(), description="HTTP methods.")
    path: Annotated[Text, AfterValidator(path_template)] | None = Field(
        default=None, description="Path template: `{name}` is one segment, a final `{name...}` all the rest."
    )
    header: Mapping[Annotated[str, AfterValidator(visible_header)], str] = Field(
        default_factory=dict, description="Header fields and their exact values."
    )
    values: Mapping[JsonPath, str | int | float | bool | None] = Field(
        default_factory=dict, alias="json", description="JSON paths into the body and the exact values there."
    )
    regex: Annotated[Text, AfterValidator(linear_regex)] | None = Field(
        default=None, description="RE2 expression searched in the request text."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.method or self.path or self.header or self.values or self.regex):
            raise ValueError("has no condition, so that the rule would match every request")
        return self


class Rule(Strict):
    """Decides without a classifier: the first rule that matches names an intent, or says that none is needed."""

    name: Name = Field(description="Name of the rule, as records give it.")
    match: Match = Field(description="The conditions.")
    intent: Name | None = Field(default=None, description="The intent that the request then has.")
    no_intent: Literal[True] | None = Field(default=None, description="`true`: the request needs no intent; policy still judges it.")
    route: Name | None = Field(default=None, description="Where the request goes, instead of the intent's route.")

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if (self.intent is None) == (self.no_intent is None):
            raise ValueError("must have either 'intent' or 'no_intent: true'")
        if self.no_intent and self.route is None:
            raise ValueError("has 'no_intent' and therefore needs a 'route'")
        return self


class RiskLevels(Strict):
    """Least score of each level; below `medium` a request is low."""

    medium: Fraction = Field(default=0.3, description="From here on the risk is medium.")
    high: Fraction = Field(default=0.6, description="From here on the risk is high.")
    critical: Fraction = Field(default=0.85, description="From here on the risk is critical.")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not 0 < self.medium < self.high < self.critical:
            raise ValueError("must rise: medium, then high, then critical")
        return self


class RiskSettings(Strict):
    """How signals become a risk level."""

    levels: RiskLevels = Field(default=RiskLevels(), description="Where the levels begin.")
    weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="Contribution of a signal or of an intent's risk, by name, instead of the built-in one."
    )


class Catalog(Strict):
    """The catalog: the domain that requests are about. Paths in it are relative to it."""

    version: Literal[1] = Field(description="Version of this format.")
    name: Name = Field(default="catalog", description="Name of the catalog.")
    destinations: Mapping[Name, Destination] = Field(description="Services and workflows, by name.", min_length=1)
    routes: Mapping[Name, Route] = Field(description="Ways to destinations, by name.", min_length=1)
    intents: Mapping[Name, Intent] = Field(default_factory=dict, description="What people ask for, by name.")
    rules: tuple[Rule, ...] = Field(default=(), description="Deterministic rules, in the order in which they are tried.")
    out_of_scope: OutOfScope = Field(default=OutOfScope(), description="What is about no intent.")
    learned: Text | None = Field(default=None, description="File of what was learnt, which Lockgate writes; needs `learning`.")
    risk: RiskSettings = Field(default=RiskSettings(), description="How signals become a risk level.")


def utterances(text: str) -> list[tuple[int, str]]:
    """Line number and text of each utterance; blank lines and lines that begin with '#' are left out."""
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]
