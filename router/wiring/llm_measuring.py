"""What a language model's answers are worth, found by asking it about held-out texts that the tiers abstain from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Generic, TypeVar

from embeddings.labelled import Labelled
from embeddings.ports import Progress
from router.config.judgement import LlmConfig
from router.decision import Classification, Status
from router.errors import ClassifierError, ConfigError
from router.ports import Clock
from router.stages.classification import Cascade
from router.stages.llm_arbiter import Choice, LlmArbiter
from router.stages.llm_calibration import LlmCalibration, Observed, measure
from router.wiring.llm import arbiter_with, asked_digest, make_chat
from router.wiring.llm_metering import Meter
from router.workspace import Workspace

Answer = TypeVar("Answer")
Told = Callable[[int, int], None]  # how many were asked about, and how many there are

UNBOUNDED = 2**53  # tokens a minute: the whole measurement has a budget of its own
HOPELESS = 5  # failures in a row


@dataclass(frozen=True, slots=True)
class Measurement:
    """`left_open`: held-out texts that the model may be asked about; `asked` of them it was, `failed` counts by reason those without a
    usable choice. `stopped`: why not all were asked, if so."""

    calibration: LlmCalibration
    left_open: int
    asked: int
    failed: dict[str, int]
    tokens: int
    stopped: str


@dataclass(frozen=True, slots=True)
class Open:
    """A normalised text that the tiers leave open: its true intent (None: about none), their scores, and what the thresholds make of
    these."""

    text: str
    intent: str | None
    scored: Classification
    judged: Classification


@dataclass(frozen=True, slots=True)
class Bounds:
    """Texts that are asked about at the most, and tokens after which no more is asked."""

    most: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Asked(Generic[Answer]):
    """`answers` are by the place of the text that was asked about."""

    answers: dict[int, Answer]
    asked: int
    failed: dict[str, int]
    stopped: str


async def measured(
    workspace: Workspace, cascade: Cascade, texts: Labelled, *, most: int, tokens: int, clock: Clock, progress: Progress
) -> Measurement:
    """Raises ConfigError where nothing can be said: no model, no text, no usable answer, or several versions that answer in turns."""
    config = workspace.config.classifier.llm
    if config is None:
        raise ConfigError("There is no 'classifier.llm' to be measured.")
    config = unbounded(config)
    meter = Meter(make_chat(config, workspace.root, clock, 1, None), config.max_tokens, clock)
    arbiter = arbiter_with(meter, workspace, config)
    said = [Open(text, intent, *await cascade.tiers_say(text)) for text, intent in zip(texts.texts, texts.intents, strict=True)]
    chosen = mixed([each for each in said if arbiter.asks(each.judged)])
    if not chosen:
        raise ConfigError("None of the texts is one that the language model would be asked about; no route with such a text sets 'llm'.")
    found = await choices(arbiter, chosen, meter, Bounds(most, tokens), partial(progress, "ask"))
    calibration = calibrated(chosen, found, asked_digest(workspace), workspace.digests.catalog)
    return Measurement(calibration, len(chosen), found.asked, found.failed, meter.tokens, found.stopped)


def unbounded(config: LlmConfig) -> LlmConfig:
    """Each text is asked about, and at once."""
    return config.model_copy(update={"tokens_per_minute": UNBOUNDED, "cache": 0})


def mixed(texts: Sequence[Open]) -> list[Open]:
    """In an order that has nothing to do with the file's, which may be sorted: the first so many are then a fair sample."""
    return sorted(texts, key=lambda each: sha256(each.text.encode("utf-8", "surrogatepass")).digest())


async def choices(arbiter: LlmArbiter, texts: Sequence[Open], meter: Meter, bounds: Bounds, progress: Told) -> Asked[Choice]:
    """What the model chooses, whatever it is worth."""
    return await ask_each(texts, lambda each: arbiter.choose(each.text, each.scored), meter, bounds, progress)


async def ask_each(
    texts: Sequence[Open], ask: Callable[[Open], Awaitable[Answer]], meter: Meter, bounds: Bounds, progress: Told
) -> Asked[Answer]:
    """One after the other, until a bound is reached or `ask` failed too often in a row."""
    answers: dict[int, Answer] = {}
    failed: Counter[str] = Counter()
    asked, in_a_row, stopped = 0, 0, ""
    for place, each in enumerate(texts):
        stopped = _stop(asked, meter.tokens, bounds, in_a_row, failed)
        if stopped:
            break
        asked += 1
        progress(asked, min(bounds.most, len(texts)))
        try:
            answers[place] = await ask(each)
        except ClassifierError as error:
            failed[error.code] += 1
            in_a_row += 1
            continue
        in_a_row = 0
    return Asked(answers, asked, dict(failed), stopped)


def shown(version: str) -> str:
    """What a server says of itself, for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in version[:200])


def _stop(asked: int, used: int, bounds: Bounds, in_a_row: int, failed: Counter[str]) -> str:
    if asked >= bounds.most:
        return f"{bounds.most} texts were asked about"
    if used >= bounds.tokens:
        return f"{used:,} tokens were used"
    return f"the last {in_a_row} calls failed: {', '.join(sorted(failed))}" if in_a_row >= HOPELESS else ""


def calibrated(texts: Sequence[Open], found: Asked[Choice], prompt_digest: str, catalog_digest: str) -> LlmCalibration:
    """Raises ConfigError where the choices cannot be bound to one version of the model."""
    if not found.answers:
        raise ConfigError(
            f"The language model gave no usable answer: {', '.join(f'{code} {count}' for code, count in found.failed.items())}."
        )
    versions = {choice.model for choice in found.answers.values()}
    if "" in versions:
        raise ConfigError("The server does not say which version of the model answers, so no measurement can be bound to one.")
    if len(versions) > 1:
        told = ", ".join(shown(version) for version in sorted(versions))
        raise ConfigError(f"The server answered with several versions of the model ({told}); name one.")
    observed = [_observed(texts[place], choice) for place, choice in found.answers.items()]
    return measure(observed, versions.pop(), prompt_digest, catalog_digest)


def _observed(text: Open, choice: Choice) -> Observed:
    return Observed(text.intent, text.scored.candidates[0].intent, choice.intent, text.judged.status is Status.OUT_OF_SCOPE)
