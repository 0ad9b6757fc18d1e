"""Learning from corrections: off unless somebody wants it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from router.config.judgement import ChatConfig
from router.settings import Bool, Count, Fraction, Span, Strict, Text

ProposalType = Literal["new_examples", "new_intent", "threshold", "route"]


class LearningBounds(Strict):
    """How much worse a proposal may be, on texts that nothing was learnt from, before it can be approved only against the evaluation, on
    record."""

    accuracy: Fraction = Field(default=0.0, description="Largest loss of accuracy over all intents.")
    intent: Fraction = Field(default=0.05, description="Largest loss of accuracy on any one intent that has enough held-out texts.")
    ece: Fraction = Field(default=0.01, description="Largest growth of the calibration error (ECE).")
    flips: Fraction = Field(default=0.05, description="Largest share of recorded decisions that would be classified differently.")
    failures: Fraction = Field(default=0.01, description="Largest loss of the share of requests that succeed, by another route.")
    least: Count = Field(default=20, le=100_000, description="Held-out texts below which nothing is said about an intent.")


class SeededConfig(Strict):
    """Texts whose label is known, mixed in among the samples, so that it is known how well people label. Nobody who labels can tell them
    from others, and what is said of them counts for nothing else."""

    share: Fraction = Field(default=0.05, le=0.5, description="Share of them among all that people are given; at most half.")
    agreement: int = Field(
        default=2, ge=2, le=10, description="People who said alike, at least, of a text for its label to be known; `overlap` asks as many."
    )


class SamplingConfig(Strict):
    """Decisions that people label without seeing what the classifier said, so that it is known how often it is right. A decision that is
    sampled goes its way as any other."""

    random: Fraction = Field(default=0.0, description="Share of all classified decisions.")
    uncertain: Fraction = Field(default=0.0, description="Share of those that the classifier was not sure of, besides.")
    disagree: Fraction = Field(default=0.0, description="Share of those of which tiers held different intents likeliest, besides.")
    confidence: Fraction = Field(default=0.8, description="Confidence below which it was not sure.")
    margin: Fraction = Field(default=0.1, description="Distance of the first two candidates below which it was not sure.")
    a_day: Count = Field(default=50, le=100_000, description="Most samples of each kind, tenant and day (UTC).")
    overlap: Fraction = Field(
        default=0.2, description="Share of samples that two people label, independently; with `seeded` as many as its `agreement`."
    )
    claim: Span = Field(default=900.0, description="How long somebody has for one; then another may label it.")
    quick: Span = Field(default=2.0, description="Answers in less than that count as too quick in the figures of who labels.")
    seeded: SeededConfig | None = Field(default=None, description="Texts whose label is known, mixed in. None unless this is set.")


class ApprovalConfig(Strict):
    """What it takes to approve a proposal of one type, beside the permission."""

    approvals: Count = Field(default=1, le=100, description="How many different people must approve.")
    roles: tuple[Text, ...] = Field(default=(), description="Roles, one of which who approves must have; those of `each_of` count, too.")
    each_of: tuple[Text, ...] = Field(
        default=(), max_length=8, description="Roles of which each must approve, by different people; at most eight."
    )


class WatchConfig(Strict):
    """What labelled samples say of the classifier, as metrics for the alerts. Only random samples count there."""

    window: Span = Field(default=7 * 86_400.0, le=366 * 86_400.0, description="Decisions of so long are looked at, up to now.")
    least: Count = Field(default=50, le=100_000, description="Labelled samples below which there is no figure.")
    accuracy: Fraction | None = Field(
        default=None,
        description="Share of decisions with an intent that is to be right at least; the alert fires where it surely is not. None without.",
    )
    gap: Fraction = Field(default=0.05, description="How far mean confidence may be from the share that is right.")


class SuggestionsConfig(Strict):
    """Suggestions of other routes for intents, of what became of their requests. They have no effect before one person makes them theirs
    and another one approves them."""

    every: Span = Field(default=3600.0, description="How often it is looked for them.")
    window: Span = Field(default=604_800.0, description="Time that is looked at, and in which an intent gets no second suggestion.")
    least: Count = Field(default=50, le=1_000_000, description="Known outcomes of a route, below which nothing is said of it.")
    gain: Fraction = Field(default=0.02, description="Least gain: of the share that succeeds, or of costs.")
    loss: Fraction = Field(
        default=0.01, description="Largest possible loss of the share that succeeds, where a route costs less or is quicker."
    )
    most: Count = Field(default=3, le=100, description="Most suggestions that are open at once.")
    decisions: Count = Field(default=20_000, le=1_000_000, description="Most decisions that are looked at, the newest first.")


class WordingConfig(ChatConfig):
    """A language model that drafts the name, description and rationale of a new intent, where somebody asks it to. Words that at least
    `learning.subjects` people used leave this process, masked, and no text. Needs `pip install 'lockgate[llm]'`."""

    deadline: Span = Field(default=30.0, description="Longest time for an answer.")
    max_tokens: int = Field(default=400, ge=64, le=4096, description="Most tokens of an answer; a model that thinks aloud needs more.")
    tokens_per_minute: Count = Field(default=20_000, description="Tokens that a node may use in a minute.")


class LearningConfig(Strict):
    """Proposals that are learnt from what people say about decisions. Nothing of them has an effect before two people wanted it."""

    from_reviews: Bool = Field(
        default=True, description="Whether what reviewers do with held requests counts as what they say of the intent."
    )
    approvers: tuple[Text, ...] = Field(
        default=(), description="Roles, one of which who approves a proposal must have, beside the permission; any where none is named."
    )
    approval: dict[ProposalType, ApprovalConfig] = Field(
        default={}, description="By type of proposal what else it takes: more people, and who they are."
    )
    policy: Text | None = Field(
        default=None, description="Folder of Rego files in the package `lockgate.learning.own` that refuse more approvals, or ask for more."
    )
    held_out: Text | None = Field(
        default=None, description="CSV file with the columns text, intent (oos: none) that proposals are measured on and never learn from."
    )
    bounds: LearningBounds = Field(default=LearningBounds(), description="What a proposal may make worse.")
    subjects: Count = Field(
        default=3, le=1000, description="People whose texts a proposal must be made of, at least; one alone teaches nothing."
    )
    examples: Count = Field(default=50, le=1000, description="Most new examples of an intent in one proposal.")
    topic: Count = Field(default=5, le=1000, description="Texts without an intent that are a topic, at least; of `subjects` people.")
    likeness: Fraction = Field(default=0.5, description="Mean cosine from which on two groups of texts are one topic.")
    evaluation: Span = Field(default=600.0, description="Longest time an evaluation may take.")
    sampling: SamplingConfig | None = Field(default=None, description="Samples of decisions for people to label. None unless this is set.")
    watch: WatchConfig = Field(default=WatchConfig(), description="What is measured of labelled samples, and when it is not good enough.")
    suggestions: SuggestionsConfig | None = Field(
        default=None, description="Suggestions of other routes, made by itself. None unless this is set; people can ask for them anyway."
    )
    wording: WordingConfig | None = Field(
        default=None, description="A language model that drafts the words of new intents. None unless this is set."
    )
