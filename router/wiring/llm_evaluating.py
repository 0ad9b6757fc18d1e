"""A language model as the last tier of a cascade that is tried out on labelled texts, where there is no catalog."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from adapters.answers import answer
from embeddings.evaluation import LeftOpen, Opinion, Trial
from embeddings.held_out import held_out
from embeddings.labelled import Labelled
from embeddings.ports import Progress
from router.config.judgement import LlmConfig
from router.decision import Classification, Status
from router.errors import ClassifierError, ConfigError
from router.ports import Chat, Clock
from router.stages.classification import Thresholds, normalise
from router.stages.llm_arbiter import Choice, LlmArbiter
from router.stages.llm_calibration import Kind, LlmCalibration
from router.stages.llm_choice import Described, prompt_digest
from router.stages.signals import SignalDetector
from router.validation import validate
from router.wiring.llm import ASKING, asked_about, make_chat
from router.wiring.llm_measuring import Asked, Bounds, Open, ask_each, calibrated, choices, mixed, unbounded
from router.wiring.llm_metering import Meter, Used
from router.wiring.stages import NEVER
from router.yaml_source import read_yaml

TIER = "llm"
EXAMPLES = 3  # of an intent, in its description
EXAMPLE_CHARACTERS = 160
NO_GAIN = "llm_no_gain"
# The server answered, and what it said is not used; any other code says that it did not.
UNUSED = {NO_GAIN, "llm_malformed", "llm_not_allowed", "llm_version_unknown", "llm_text_long"}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`opinions`: by the place of the test text. `told`: what was asked, found and spent. `problem`: why nothing could be measured, and the
    model therefore changes nothing; empty otherwise."""

    opinions: Mapping[int, Opinion]
    told: Mapping[str, Any]
    problem: str


def read_llm(path: Path, environment: Mapping[str, str]) -> LlmConfig:
    """What a configuration has as `classifier.llm`, in a file of its own. Raises ConfigError with every fault."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    document, faults = read_yaml(str(path), data, environment)
    config = None
    if document is not None:
        config, more = validate(LlmConfig, document, value={} if document.value is None else document.value)
        faults = [*faults, *more]
    if faults or config is None:
        raise ConfigError(*(str(fault) for fault in sorted(set(faults))))
    return config


class LlmEvaluation:
    """Made before anything is trained, so that what is missing is said then. Raises ConfigError. A key's file is relative to `root`."""

    def __init__(self, config: LlmConfig, root: Path, bounds: Bounds, clock: Clock) -> None:
        self._config = unbounded(config)
        self._chat = make_chat(self._config, root, clock, 1, None)
        self._bounds = bounds
        self._clock = clock

    async def evaluate(self, trial: Trial, progress: Progress) -> Evaluated:
        """Measures the model kind by kind on held-out texts that the cascade leaves open, and asks it about test texts as far as that was a
        gain. Bounds: `most` of the held-out texts, and as many tokens for these as for the test texts."""
        asking = _Asking(trial, self._config)
        measuring, testing = (Meter(self._chat, self._config.max_tokens, self._clock) for _ in range(2))
        chosen = asking.held_out(self._bounds.most, progress)
        found = await choices(asking.arbiter(measuring, None), chosen, measuring, self._bounds, partial(progress, "ask, held out"))
        calibration, problem = _calibrated(asking, chosen, found)
        places, left_open = asking.test()
        answered = await self._test(asking, left_open, calibration, problem, testing, progress)
        opinions = {places[place]: asking.opinion(each) for place, each in answered.answers.items() if not isinstance(each, str)}
        told = {
            "model": self._config.model,
            "model_reported": calibration.model_reported if calibration is not None else None,
            "problem": problem or None,
            "calibration": {**_counts(chosen, found), "failed": found.failed, **_kinds(calibration)},
            "test": {**_counts(left_open, answered), **_outcomes(answered, opinions)},
            "costs": _costs(measuring.used, testing.used, _failures(found, answered)),
        }
        return Evaluated(opinions, told, problem)

    async def _test(
        self, asking: _Asking, left_open: list[Open], calibration: LlmCalibration | None, problem: str, meter: Meter, progress: Progress
    ) -> Asked[Classification | str]:
        """Nobody is asked where nothing that could be answered would change anything."""
        if calibration is None or not calibration.may_override or not left_open:
            why_not = "nothing was measured" if problem else "no kind of answer was found to be a gain"
            return Asked({}, 0, {}, why_not if left_open else "")
        ask = partial(_arbitrated, asking.arbiter(meter, calibration))
        bounds = Bounds(len(left_open), self._bounds.tokens)
        return await ask_each(left_open, ask, meter, bounds, partial(progress, "ask, test"))


class _Asking:
    """What is asked of the model, and about which texts."""

    def __init__(self, trial: Trial, config: LlmConfig) -> None:
        self._trial = trial
        self._config = config
        self._mask = str if config.raw_text else SignalDetector().mask
        self._described, self._shown = described(trial.splits.train, self._mask)
        confidence = trial.point.confidence if trial.point.confidence is not None else NEVER
        self._thresholds = Thresholds(confidence, 0.0, trial.point.scope, max_error=trial.max_error)
        self.catalog_digest = trial.cascade.encoder.examples_digest
        shown = [asdict(each) for each in self._described.values()]
        settings = [config.model_dump(mode="json", include=ASKING), shown, trial.cascade.encoder.digest, asdict(trial.point)]
        self.prompt_digest = prompt_digest(json.dumps(settings, sort_keys=True))

    def arbiter(self, chat: Chat, calibration: LlmCalibration | None) -> LlmArbiter:
        return LlmArbiter(
            chat,
            self._described,
            calibration,
            allowed=frozenset(self._described),
            mask=self._mask,
            prompt_digest=self.prompt_digest,
            catalog_digest=self.catalog_digest,
            candidates=self._config.candidates,
            asked_about=asked_about(self._config),
        )

    def held_out(self, most: int, progress: Progress) -> list[Open]:
        """Each different text once, and none that a description shows; no more lots are taken than are needed for `most`."""
        seen = set(self._shown)
        found: list[Open] = []
        for lot in held_out(self._trial, progress):
            for each in mixed([each for _, each in self._asked_about(lot)]):
                if each.text not in seen:
                    seen.add(each.text)
                    found.append(each)
            if len(found) >= most:
                break
        return found

    def test(self) -> tuple[list[int], list[Open]]:
        """The places of the texts, and the texts: all of them, also what was learnt from."""
        pairs = sorted(self._asked_about(self._trial.left_open()), key=lambda pair: _shuffled(pair[1].text))
        return [place for place, _ in pairs], [each for _, each in pairs]

    def opinion(self, answered: Classification) -> Opinion:
        if answered.status is not Status.CLASSIFIED or answered.confidence is None:
            return Opinion(None, 0.0, accepted=False)
        accepted = self._thresholds.settle(answered).status is Status.CLASSIFIED
        return Opinion(answered.intent, answered.confidence, accepted)

    def _asked_about(self, texts: Iterable[LeftOpen]) -> Iterator[tuple[int, Open]]:
        """As in a trial, confidence and scope alone decide: the prediction set is the first candidate."""
        reasons = asked_about(self._config)
        for each in texts:
            text = normalise(each.text)
            scored = answer("encoder", self._trial.cascade.encoder, each.found, NEVER)
            judged = self._thresholds.judge(scored)
            if text and judged.reason in reasons:
                yield each.place, Open(text, each.intent, scored, judged)


def described(train: Labelled, mask: Callable[[str], str]) -> tuple[dict[str, Described], set[str]]:
    """Each intent by its name and a few of its examples, masked as texts are; and the examples that are shown, normalised."""
    found: dict[str, Described] = {}
    shown: set[str] = set()
    for intent, texts in train.by_intent.items():
        few = sorted({normal for text in texts if (normal := normalise(text))}, key=_shuffled)[:EXAMPLES]
        shown.update(few)
        told = " | ".join(mask(text)[:EXAMPLE_CHARACTERS] for text in few)
        found[intent] = Described(intent, f"{intent.replace('_', ' ')}. For example: {told}")
    return found, shown


def _shuffled(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


async def _arbitrated(arbiter: LlmArbiter, text: Open) -> Classification | str:
    """The answer, or the code that says why it is not used. Raises ClassifierError where the server gave none."""
    try:
        return await arbiter.arbitrate(text.text, text.scored)
    except ClassifierError as error:
        if error.code not in UNUSED:
            raise
        return error.code


def _calibrated(asking: _Asking, chosen: list[Open], found: Asked[Choice]) -> tuple[LlmCalibration | None, str]:
    if not chosen:
        return None, "None of the held-out texts is one that the language model would be asked about."
    try:
        return calibrated(chosen, found, asking.prompt_digest, asking.catalog_digest), ""
    except ConfigError as error:
        return None, str(error)


def _counts(texts: list[Open], asked: Asked[Any]) -> dict[str, Any]:
    return {"left_open": len(texts), "asked": asked.asked, "stopped": asked.stopped or None}


def _kinds(calibration: LlmCalibration | None) -> dict[str, Any]:
    """What answers of each kind were found to be worth; nothing where nothing could be measured."""
    if calibration is None:
        return {kind.value: None for kind in Kind}
    found = {kind.value: calibration.of(kind) for kind in Kind}
    return {name: {**asdict(each), "confidence": each.confidence, "may_override": each.may_override} for name, each in found.items()}


def _outcomes(asked: Asked[Classification | str], opinions: Mapping[int, Opinion]) -> dict[str, Any]:
    """`used` answers took the place of the cascade's, `accepted` of them also at the stated risk; the others by what kept them out."""
    unused = Counter(each for each in asked.answers.values() if isinstance(each, str))
    unused.update(asked.failed)
    return {
        "used": len(opinions),
        "accepted": sum(each.accepted for each in opinions.values()),
        "out_of_scope": sum(each.intent is None for each in opinions.values()),
        "unused": dict(sorted(unused.items())),
    }


def _failures(found: Asked[Choice], answered: Asked[Classification | str]) -> dict[str, int]:
    failed = Counter(found.failed)
    failed.update(answered.failed)
    failed.update(each for each in answered.answers.values() if isinstance(each, str) and each != NO_GAIN)
    return dict(sorted(failed.items()))


def _costs(measuring: Used, testing: Used, failures: dict[str, int]) -> dict[str, Any]:
    """Of both together, and of each."""
    parts = {"calibration": asdict(measuring), "test": asdict(testing)}
    total = {name: parts["calibration"][name] + parts["test"][name] for name in parts["test"]}
    return {**total, "failures": failures, **parts}
