"""What a language model's answers are worth, found by asking it about held-out texts that the tiers abstain from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from embeddings.labelled import Labelled
from embeddings.ports import Progress
from router.decision import Status
from router.errors import ClassifierError, ConfigError
from router.ports import Clock
from router.stages.classification import Cascade
from router.stages.llm_calibration import LlmCalibration, Observed, measure
from router.wiring.llm import asked_digest, make_arbiter
from router.workspace import Workspace

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


class Spending:
    """Counts what the server says was used."""

    def __init__(self) -> None:
        self.tokens = 0

    def llm_called(self, result: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.tokens += prompt_tokens + completion_tokens


async def measured(
    workspace: Workspace, cascade: Cascade, texts: Labelled, *, most: int, tokens: int, clock: Clock, progress: Progress
) -> Measurement:
    """Raises ConfigError where nothing can be said: no model, no text, no usable answer, or several versions that answer in turns."""
    spending = Spending()
    arbiter = make_arbiter(_unbounded(workspace), clock, 1, spending)
    if arbiter is None:
        raise ConfigError("There is no 'classifier.llm' to be measured.")
    chosen = [(text, intent) for text, intent in _mixed(texts) if arbiter.asks((await cascade.tiers_say(text))[1])]
    if not chosen:
        raise ConfigError("None of the texts is one that the language model would be asked about; no route with such a text sets 'llm'.")
    observed: list[Observed] = []
    versions: set[str] = set()
    failed: Counter[str] = Counter()
    asked, in_a_row, stopped = 0, 0, ""
    for text, intent in chosen:
        stopped = _stop(asked, most, spending.tokens, tokens, in_a_row, failed)
        if stopped:
            break
        scored, judged = await cascade.tiers_say(text)
        asked += 1
        progress("ask", asked, min(most, len(chosen)))
        try:
            choice = await arbiter.choose(text, scored)
        except ClassifierError as error:
            failed[error.code] += 1
            in_a_row += 1
            continue
        in_a_row = 0
        versions.add(choice.model)
        observed.append(Observed(intent, scored.candidates[0].intent, choice.intent, judged.status is Status.OUT_OF_SCOPE))
    return Measurement(_calibration(workspace, observed, versions, failed), len(chosen), asked, dict(failed), spending.tokens, stopped)


def shown(version: str) -> str:
    """What a server says of itself, for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in version[:200])


def _unbounded(workspace: Workspace) -> Workspace:
    classifier = workspace.config.classifier
    if classifier.llm is None:
        return workspace
    llm = classifier.llm.model_copy(update={"tokens_per_minute": UNBOUNDED, "cache": 0})
    config = workspace.config.model_copy(update={"classifier": classifier.model_copy(update={"llm": llm})})
    return replace(workspace, config=config)


def _mixed(texts: Labelled) -> Sequence[tuple[str, str | None]]:
    """In an order that has nothing to do with the file's, which may be sorted: the first so many are then a fair sample."""
    return sorted(zip(texts.texts, texts.intents, strict=True), key=lambda each: sha256(each[0].encode("utf-8", "surrogatepass")).digest())


def _stop(asked: int, most: int, used: int, tokens: int, in_a_row: int, failed: Counter[str]) -> str:
    if asked >= most:
        return f"{most} texts were asked about"
    if used >= tokens:
        return f"{used:,} tokens were used"
    return f"the last {in_a_row} calls failed: {', '.join(sorted(failed))}" if in_a_row >= HOPELESS else ""


def _calibration(workspace: Workspace, observed: list[Observed], versions: set[str], failed: Counter[str]) -> LlmCalibration:
    if not observed:
        raise ConfigError(f"The language model gave no usable answer: {', '.join(f'{code} {count}' for code, count in failed.items())}.")
    if "" in versions:
        raise ConfigError("The server does not say which version of the model answers, so no measurement can be bound to one.")
    if len(versions) > 1:
        told = ", ".join(shown(version) for version in sorted(versions))
        raise ConfigError(f"The server answered with several versions of the model ({told}); name one.")
    return measure(observed, versions.pop(), asked_digest(workspace), workspace.digests.catalog)
