"""A language model beside a real Lockgate: what it may decide, and that nothing opens when it is gone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.stages.llm_calibration import LlmCalibration, Measured
from router.wiring.llm import asked_digest
from router.workspace import parse, read
from tests.contract.llm_server import MODEL, LlmServer, serving
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.yard import load, save

EXAMPLES = {
    "look": ["show me the item", "what does it look like", "describe the item", "let me see it", "open the item's page", "show its photo"],
    "pay": ["pay for the item", "take it and charge my card", "buy it now", "check out and pay", "settle the bill", "send the payment"],
    "send_back": ["return the item", "send it back", "I want my money back", "give it back", "it is broken, return it", "refund the item"],
}
UNSURE = "I have the item here, what now"
FORBIDDEN = "I do not want this item any more, give it back or so"
MEASURED = Measured(95, 5, 2)


def with_intents(lockgate: Lockgate) -> None:
    """Intents to be told apart by text; `send_back` goes where no language model may send anything."""
    path = lockgate.yard.folder / "catalog.yaml"
    catalog = load(path)
    catalog["routes"]["plain"] |= {"llm": True, "path": "/echo/text", "method": "POST"}
    catalog["routes"]["guarded"] = {"destination": "service", "path": "/echo/guarded", "method": "POST"}
    catalog["intents"]["send_back"] = {"description": "Gives an item back.", "risk": "low", "route": "guarded"}
    for name, examples in EXAMPLES.items():
        catalog["intents"][name] |= {"examples": examples, "risk": "low"}
    save(path, catalog)


def calibrate(lockgate: Lockgate) -> None:
    """As if the model had been measured, with the prompt and the catalog that are there."""
    config = load(lockgate.yard.config)
    named = config["classifier"]["llm"].pop("calibration")
    save(lockgate.yard.config, config)
    workspace = parse(read(lockgate.yard.config, {}), {})
    prompt = asked_digest(workspace)
    found = LlmCalibration(MODEL, prompt, workspace.digests.catalog, replace(MEASURED, lost=5), MEASURED, MEASURED)
    (lockgate.yard.folder / named).write_bytes(found.to_json())
    config["classifier"]["llm"]["calibration"] = named
    save(lockgate.yard.config, config)


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    llm = {"url": "http://127.0.0.1:1/v1", "model": "small", "calibration": "llm.json", "cache": 0, "failures": 100, "deadline": "2s"}
    classifier = {"llm": llm, "min_confidence": 0.8, "min_margin": 0.95, "min_scope": 0.0, "coverage": 0.5, "deadline": "5s"}
    with prepared(tmp_path_factory.mktemp("llm"), classifier=classifier) as lockgate:
        config = load(lockgate.yard.config)
        config["classifier"]["llm"]["url"] = f"http://127.0.0.1:{lockgate.ports['nobody']}/v1"
        save(lockgate.yard.config, config)
        with_intents(lockgate)
        calibrate(lockgate)
        lockgate.start()
        yield lockgate


@asynccontextmanager
async def model(lockgate: Lockgate, **behaviour: Any) -> AsyncIterator[LlmServer]:
    async with serving(LlmServer(**behaviour), lockgate.ports["nobody"]) as server:
        yield server


async def told(lockgate: Lockgate, text: str) -> tuple[int, Any]:
    """The answer's status, and the classification in the ledger."""
    answer = await asyncio.to_thread(lockgate.ask, "ann", "POST", "/say", {"text": text})
    story = await asyncio.to_thread(lockgate.story, answer.decision)
    return answer.status, story[0]["classification"]


def choosing(intent: str | None) -> str:
    return json.dumps({"choice": "N" if intent is None else "ABC"[sorted(EXAMPLES).index(intent)]})


async def test_the_model_decides_what_the_encoder_left_open(asking: Lockgate) -> None:
    """The request reaches the service, and the ledger says that the language model decided it, how sure it is, and by which measurement."""
    asking.forget()
    async with model(asking, content=choosing("pay")) as server:
        status, found = await told(asking, UNSURE)
    assert (status, found["status"], found["intent"], found["tier"], found["reason"]) == (200, "classified", "pay", "llm", "")
    assert float(found["confidence"]) == pytest.approx(MEASURED.confidence, abs=1e-4)
    assert len(asking.arrived("/echo/text")) == 1
    assert json.loads(server.asked[0]["messages"][1]["content"])["text"] == UNSURE


async def test_none_of_these_goes_nowhere(asking: Lockgate) -> None:
    """The request abstains as out of scope, and the ledger says that it was the language model that found so."""
    asking.forget()
    async with model(asking, content=choosing(None)):
        status, found = await told(asking, UNSURE)
    assert (status, found["status"], found["tier"]) == (422, "out_of_scope", "llm")
    assert asking.arrivals() == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (None, "llm_unavailable"),
        ({"status": 500}, "llm_unavailable"),
        ({"status": 429}, "llm_rate_limited"),
        ({"content": "They want to pay."}, "llm_malformed"),
        ({"content": '{"choice": "Z"}'}, "llm_malformed"),
        ({"content": choosing("pay"), "model": "small-2b"}, "llm_version_unknown"),
        ({"content": choosing("send_back")}, "llm_not_allowed"),
        ({"delay_s": 3.0}, "llm_late"),
    ],
)
async def test_nothing_opens_when_the_model_fails(asking: Lockgate, behaviour: dict[str, Any] | None, reason: str) -> None:
    """A server that is gone, late, limiting, babbling or another: the encoder's abstention stands, named, and no service is reached."""
    asking.forget()
    if behaviour is None:
        status, found = await told(asking, UNSURE)
    else:
        async with model(asking, **behaviour):
            status, found = await told(asking, UNSURE)
    assert (status, found["intent"], found["tier"], found["reason"]) == (422, None, "encoder", reason)
    assert asking.arrivals() == []


async def test_a_route_that_allows_no_model_keeps_its_texts(asking: Lockgate) -> None:
    """A text whose likeliest intent goes to such a route is not sent, and abstains for the encoder's own reason."""
    async with model(asking, content=choosing("pay")) as server:
        status, found = await told(asking, FORBIDDEN)
    assert (status, found["tier"], server.asked) == (422, "encoder", [])
    assert found["candidates"][0]["intent"] == "send_back"


async def test_personal_data_stays_here(asking: Lockgate) -> None:
    """The model sees the text with what was found in it masked; the service gets it whole."""
    async with model(asking, content=choosing("pay")) as server:
        status, _ = await told(asking, f"{UNSURE}, ann@example.org")
    assert status == 200
    assert "ann@example.org" not in json.dumps(server.asked)


async def test_what_tune_measures_is_what_counts(asking: Lockgate, tmp_path: Path) -> None:
    """A model that was right about each of some texts left open is written down as a gain, and the file fits; nothing else is asked."""
    folder = tmp_path / "yard"
    shutil.copytree(asking.yard.folder, folder, ignore=shutil.ignore_patterns("state", "*.log"))
    texts = [f"{UNSURE}, {word}" for word in ("one", "two", "three", "four", "five", "six")]
    (folder / "texts.csv").write_text("split,text,intent\n" + "".join(f'val,"{text}",pay\n' for text in texts))
    place = ("--config", str(folder), "--data", str(folder / "texts.csv"))
    async with model(asking, content=choosing("pay")) as server:
        done = await asyncio.to_thread(cli, "tune", *place, "--llm", "val", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["llm"]
    assert (report["asked"], len(server.asked), report["tokens"]) == (6, 6, 6 * 128)
    found = LlmCalibration.from_json((folder / "llm.json").read_bytes())
    assert (found.model_reported, found.may_override) == (MODEL, True)
    assert (await asyncio.to_thread(cli, "tune", *place, "--llm", "val", "--check")).returncode == 0


async def test_the_model_s_use_is_counted(asking: Lockgate) -> None:
    """A call is counted by its result, and its tokens by their kind, as the server counted them."""
    before = counted(asking, "lockgate_llm_tokens_total", "prompt"), counted(asking, "lockgate_llm_calls_total", "answered")
    async with model(asking, content=choosing("pay")):
        await told(asking, UNSURE)
    after = counted(asking, "lockgate_llm_tokens_total", "prompt"), counted(asking, "lockgate_llm_calls_total", "answered")
    assert (after[0] - before[0], after[1] - before[1]) == (120, 1)


def counted(lockgate: Lockgate, metric: str, label: str) -> float:
    lines = lockgate.control("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{metric}{{") and f'="{label}"' in line)
