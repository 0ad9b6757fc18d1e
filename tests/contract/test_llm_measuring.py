"""A language model is measured by asking it, over the real wire, about held-out texts that the tiers abstain from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from embeddings.labelled import Labelled
from router.decision import Candidate, Classification, Status
from router.errors import ConfigError
from router.stages.classification import Cascade, Thresholds
from router.stages.llm_calibration import LlmCalibration, Measured
from router.system import SystemClock
from router.wiring.llm import asked_digest, fits
from router.wiring.llm_measuring import HOPELESS, Measurement, measured
from router.workspace import Workspace, parse, read
from tests.contract.llm_server import MODEL, LlmServer, serving
from tests.needs import needs

needs("litellm", "run `make test`")

FILES = {
    "lockgate.yaml": "version: 1\nclassifier: {llm: {url: '%s', model: small}}\n",
    "catalog.yaml": (
        "version: 1\n"
        "destinations: {desk: {adapter: http, upstreams: [{url: 'http://127.0.0.1:9000'}]}}\n"
        "routes:\n"
        "  ask: {destination: desk, path: /ask, method: POST, llm: true}\n"
        "  till: {destination: desk, path: /till, method: POST}\n"
        "intents:\n"
        "  cancel: {description: Stop it., route: ask, examples: [stop, halt, end it, call it off, cancel]}\n"
        "  move: {description: Another day., route: ask, examples: [move it, later, sooner, another day, postpone]}\n"
        "  pay: {description: Send money., route: till, examples: [pay, send it, transfer, give it]}\n"
    ),
    "policies/decision.rego": "package lockgate.decision\n",
}
ORDER = ("cancel", "move", "pay")


class Encoder:
    """Takes every text for `cancel`, or what it begins with, and is sure of those that say so."""

    name = "encoder"

    async def classify(self, text: str) -> Classification:
        first = next((name for name in ORDER if text.startswith(name)), "cancel")
        names = (first, *(name for name in ORDER if name != first))
        candidates = tuple(Candidate(name, 3.0 - place, 0.5 - place / 5) for place, name in enumerate(names))
        sure = 0.99 if "surely" in text else 0.5
        return Classification(Status.CLASSIFIED, first, sure, 0.3, 0.9, candidates=candidates, tier="encoder")


@dataclass
class Opinionated(LlmServer):
    """Answers by the text; `versions` are reported in turns."""

    answers: Mapping[str, str | None] = field(default_factory=dict)
    versions: tuple[str, ...] = (MODEL,)

    def _answer(self, asked: dict[str, Any]) -> bytes:
        question = json.loads(asked["messages"][1]["content"])
        wanted = self.answers[question["text"]]
        ids = {option.get("name"): option["id"] for option in question["options"]}
        self.content = "no idea" if wanted == "prose" else json.dumps({"choice": ids[wanted]})
        self.model = self.versions[len(self.asked) % len(self.versions)]
        return super()._answer(asked)


@pytest.fixture
async def server() -> AsyncIterator[Opinionated]:
    async with serving(Opinionated()) as running:
        assert isinstance(running, Opinionated)
        yield running


def workspace_of(root: Path, server: LlmServer) -> Workspace:
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text.replace("%s", server.url))
    return parse(read(root, {}), {})


async def measure(server: Opinionated, root: Path, texts: Mapping[str, str | None], **bounds: int) -> Measurement:
    workspace = workspace_of(root, server)
    thresholds = Thresholds(0.7, 0.2, 0.5)
    cascade = Cascade(
        [Encoder()], thresholds, dict.fromkeys(ORDER, thresholds), catalog_digest="c", deadline_s=5.0, cache_size=0, clock=SystemClock()
    )
    labelled = Labelled(tuple(texts), tuple(texts.values()))
    limits: dict[str, Any] = {"most": 100, "tokens": 10**6} | bounds
    return await measured(workspace, cascade, labelled, clock=SystemClock(), progress=lambda *_: None, **limits)


async def test_answers_are_counted_by_kind(server: Opinionated, tmp_path: Path) -> None:
    """Agreeing, choosing another, and none of these; right, wrong, and wrong where the encoder was right."""
    server.answers = {"a": "cancel", "b": "cancel", "c": "move", "d": "move", "e": None, "f": None}
    found = await measure(server, tmp_path, {"a": "cancel", "b": "pay", "c": "move", "d": "cancel", "e": None, "f": "cancel"})
    calibration = found.calibration
    assert (calibration.agree, calibration.disagree, calibration.none) == (Measured(1, 1, 1), Measured(1, 1, 1), Measured(1, 1, 1))
    assert (found.left_open, found.asked, found.failed, found.tokens, found.stopped) == (6, 6, {}, 6 * 128, "")


async def test_it_is_bound_to_what_was_asked(server: Opinionated, tmp_path: Path) -> None:
    """The version that the server reported, the prompt and the catalog: with these, and no others, it fits."""
    server.answers = {"a": "cancel"}
    calibration = (await measure(server, tmp_path, {"a": "cancel"})).calibration
    workspace = workspace_of(tmp_path, server)
    assert calibration == LlmCalibration(MODEL, asked_digest(workspace), workspace.digests.catalog, Measured(1))
    assert fits(workspace, calibration)
    assert not fits(workspace, replace(calibration, catalog_digest="another"))


async def test_only_texts_that_it_would_be_asked_about_are_sent(server: Opinionated, tmp_path: Path) -> None:
    """Neither what the tiers are sure of, nor what a route keeps to itself."""
    server.answers = {"a": "cancel"}
    found = await measure(server, tmp_path, {"a": "cancel", "cancel surely": "cancel", "pay or so": "pay"})
    assert (found.left_open, len(server.asked)) == (1, 1)


async def test_what_would_change_nothing_is_not_counted(server: Opinionated, tmp_path: Path) -> None:
    """Prose, and an intent whose route does not allow it, are failures by their reasons."""
    server.answers = {"a": "prose", "b": "pay", "c": "cancel"}
    found = await measure(server, tmp_path, {"a": "cancel", "b": "pay", "c": "cancel"})
    assert found.failed == {"llm_malformed": 1, "llm_not_allowed": 1}
    assert (found.asked, found.calibration.agree, found.calibration.disagree) == (3, Measured(1), Measured())


async def test_it_costs_no_more_than_was_allowed(server: Opinionated, tmp_path: Path) -> None:
    """By number of texts and by tokens; what was measured until then counts."""
    texts = dict.fromkeys("abcdefgh", "cancel")
    server.answers = texts
    found = await measure(server, tmp_path, texts, most=3)
    assert (found.asked, found.stopped) == (3, "3 texts were asked about")
    found = await measure(server, tmp_path, texts, tokens=200)
    assert (found.asked, found.tokens, found.stopped) == (2, 256, "256 tokens were used")


async def test_a_server_that_does_not_count_is_bounded_all_the_same(server: Opinionated, tmp_path: Path) -> None:
    """What it does not say is guessed from what was sent."""
    texts = dict.fromkeys("abcdefgh", "cancel")
    server.answers, server.usage = texts, None
    found = await measure(server, tmp_path, texts, tokens=1_000)
    assert 1 < found.asked < len(texts)
    assert found.stopped == f"{found.tokens:,} tokens were used"


async def test_a_server_that_fails_is_left_alone(server: Opinionated, tmp_path: Path) -> None:
    """After some failures in a row nobody goes on asking, and where nothing was answered nothing is said."""
    server.status = 500
    with pytest.raises(ConfigError, match="gave no usable answer: llm_"):
        await measure(server, tmp_path, {f"text {number}": "cancel" for number in range(50)})
    assert len(server.asked) <= HOPELESS


@pytest.mark.parametrize(
    ("versions", "sentence"), [((MODEL, "small-\x1b[2J2b"), r"several versions .*small-\?\[2J2b"), (("",), "does not say which version")]
)
async def test_no_measurement_is_bound_to_no_version(server: Opinionated, tmp_path: Path, versions: tuple[str, ...], sentence: str) -> None:
    """A server that changes models between calls, or hides which it is, cannot be measured."""
    server.answers, server.versions = dict.fromkeys("abcd", "cancel"), versions
    with pytest.raises(ConfigError, match=sentence):
        await measure(server, tmp_path, dict.fromkeys("abcd", "cancel"))


async def test_nothing_left_open_is_nothing_to_measure(server: Opinionated, tmp_path: Path) -> None:
    """One sentence, and no text leaves."""
    with pytest.raises(ConfigError, match="None of the texts"):
        await measure(server, tmp_path, {"cancel surely": "cancel"})
    assert server.asked == []
