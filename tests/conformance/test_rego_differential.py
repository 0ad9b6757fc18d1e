"""The embedded engine and OPA's own give the same verdict for thousands of documents, broken ones among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
from opa_bindings import OpaError, OpaUndefinedError

from adapters.opa.server import OpaServer
from adapters.rego.embedded import load
from adapters.rego.result import parse_result
from router.config.opa import OpaEngine
from router.decision import Verdict
from router.errors import PolicyError
from router.system import SystemClock
from router.verdicts import stricter
from tests.conformance.rego_truth import ROOT, opa, settings, texts
from tests.contract.opa_sidecar import sidecar
from tests.unit.policy.halden import CATALOG, asking
from tests.unit.policy.test_input import VALID

DOCUMENTS = 2000
BY_SAMPLE, OVER_HTTP = 500, 60
SAMPLES = Path(__file__).parent / "rego_samples"
SHIPPED = ROOT / "policies"
HALDEN = ROOT / "examples" / "halden" / "policies"
ROLES = ["employee", "finance_clerk", "finance_manager", "hr_partner", "it_agent", "contractor", "service", "manager", "nobody"]
ODD: list[Any] = [None, True, False, 0, -1, 0.5, 1.5, "", "x", "*", [], ["*"], [None], {}, {"a": 1}, "low", "critical", "classified"]
CHOICES: dict[tuple[str, ...], list[Any]] = {
    ("subject", "roles"): [[role] for role in ROLES] + [["employee", "finance_clerk"], []],
    ("subject", "tenant"): ["halden-eu", "halden-us", None, "elsewhere"],
    ("subject", "authenticated_by"): ["jwt", "api_key", "none"],
    ("classification", "status"): ["classified", "skipped", "ambiguous", "out_of_scope", "unavailable", "undetermined"],
    ("classification", "confidence"): [None, 0, 0.3, 0.55, 0.6, 0.65, 0.7, 0.85, 0.9, 1.0],
    ("risk", "level"): ["low", "medium", "high", "critical"],
    ("signals", "findings"): [{"injection": {"score": score, "count": 1}} for score in (0, 0.39, 0.4, 0.6, 0.8, 1, None)]
    + [{"pii.iban": {"score": 1, "count": 1}}, {"secret.aws_key": {"score": 1, "count": 1}}],
    ("signals", "unknown"): [["pii"], ["secret", "injection"]],
    ("route",): [None, {"name": "payments.api", "destination": "payments"}, {"name": "itdesk.ask", "destination": "itdesk"}],
    ("intent",): [None, {"name": "other", "risk": "low"}],
    ("request", "method"): ["GET", "TRACE", "POST"],
    ("request", "body"): [{"bytes": 1, "truncated": True, "problem": None}, {"bytes": 1, "truncated": False, "problem": "malformed_json"}],
    ("request", "headers"): [{"x-halden-tenant": "halden-us"}, {"x-tenant": "elsewhere"}],
}


def documents(seed: int) -> Iterator[dict[str, Any]]:
    """Documents that the pipeline could send, and then with values that it never would: of another kind, or left out."""
    chance = random.Random(seed)
    for number in range(DOCUMENTS):
        document: dict[str, Any] = orjson.loads(orjson.dumps(asking(chance.choice(list(CATALOG["intents"])), chance.choice(ROLES))))
        for path in chance.sample(list(CHOICES), chance.randint(0, 4)):
            put(document, path, chance.choice(CHOICES[path]))
        for _ in range(chance.randint(1, 3) if number % 3 == 0 else 0):
            break_one(document, chance)
        yield document


def put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def break_one(document: dict[str, Any], chance: random.Random) -> None:
    while True:
        key = chance.choice(list(document))
        if isinstance(document[key], dict) and document[key] and chance.random() < 0.8:
            document = document[key]
        elif chance.random() < 0.5:
            del document[key]
            return
        else:
            document[key] = chance.choice(ODD)
            return


def verdict_of_opa(engine: Any, entry: str, document: dict[str, Any]) -> Verdict | str:
    try:
        told = "decision" if entry.startswith("intents.") else entry  # an intent's own package has its say in the decision
        return parse_result(engine.eval_document(f"lockgate.{entry}.result", document), told)
    except OpaUndefinedError:
        return "policy_undefined"
    except OpaError:
        return "policy_error"
    except PolicyError as error:
        return error.code


async def verdict_of(engine: Any, entry: str, document: dict[str, Any], intent: str | None = None) -> Verdict | str:
    """By an engine of ours, without what says which engine it was."""
    try:
        verdict = await engine.evaluate(entry, intent, document)
    except PolicyError as error:
        return error.code
    return Verdict(verdict.effect, verdict.reasons, verdict.obligations, verdict.reroute)


@pytest.mark.parametrize(("folder", "seed"), [(SHIPPED, 1), (HALDEN, 2)])
async def test_both_engines_give_the_same_verdict(folder, seed):
    """Effect, reasons and obligations, or the same way of giving none. Of documents that the pipeline never sends the embedded engine may
    be unable to make anything, where OPA skips a rule: it then denies."""
    embedded = load(texts(SHIPPED), settings(folder / "data.yaml"), deadline_s=60)
    seen: set[str] = set()
    unable = 0
    with opa(texts(SHIPPED), settings(folder / "data.yaml")) as truth:
        for document in documents(seed):
            for entry in ("admission", "decision"):
                expected, found = verdict_of_opa(truth, entry, document), await verdict_of(embedded, entry, document)
                seen.add(f"{entry} {expected.effect if isinstance(expected, Verdict) else expected}")
                if found == "policy_error" != expected:
                    assert not VALID.is_valid(document), orjson.dumps(document).decode()
                    unable += 1
                else:
                    assert found == expected, orjson.dumps(document).decode()
    assert {"admission allow", "admission deny", "decision allow", "decision deny", "decision review"} <= seen
    assert unable < DOCUMENTS / 50


def samples() -> list[str]:
    return sorted(file.stem for file in SAMPLES.glob("*.rego") if file.stem not in ("admission", "base"))


def verdict_of_both(engine: Any, package: str, document: dict[str, Any]) -> Verdict | str:
    """Of the decision and an intent's own package, joined."""
    found = [verdict_of_opa(engine, entry, document) for entry in ("decision", f"intents.{package}")]
    return next((each for each in found if isinstance(each, str)), None) or stricter(*found)


@pytest.mark.parametrize("sample", samples())
async def test_both_engines_give_the_same_verdict_by_what_authors_write(sample):
    """In styles that the shipped policies do not have. The embedded engine evaluates more of a package than OPA does, so that of documents
    which the pipeline never sends it may be unable to make anything; it then denies."""
    data, seen, unable = settings(HALDEN / "data.yaml"), set(), 0
    embedded = load(texts(SAMPLES), data, deadline_s=60)
    with opa(texts(SAMPLES), data) as truth:
        for document in islice(documents(3), BY_SAMPLE):
            expected, found = verdict_of_both(truth, sample, document), await verdict_of(embedded, "decision", document, sample)
            seen.add(expected.effect if isinstance(expected, Verdict) else expected)
            if found == "policy_error" != expected:
                assert not VALID.is_valid(document), orjson.dumps(document).decode()
                unable += 1
            else:
                assert found == expected, orjson.dumps(document).decode()
    assert len(seen) > 1
    assert unable < BY_SAMPLE / 20


async def test_over_http_it_is_the_same_verdict():
    """The OPA adapter adds nothing and loses nothing: shipped policies and samples, broken documents among them."""
    data = settings(HALDEN / "data.yaml")
    written = {name: text for name, text in texts(SAMPLES).items() if Path(name).stem in samples()}
    policies = {**texts(SHIPPED), **written}
    seen: set[str] = set()
    with sidecar() as server, opa(policies, data) as truth:
        server.bundles({"main": "1"}, policies, data)
        engine = OpaServer(OpaEngine(url=server.url), ROOT, deadline_s=30, clock=SystemClock())
        await engine.open()
        for document in islice(documents(4), OVER_HTTP):
            for entry in ("admission", "decision"):
                expected = verdict_of_opa(truth, entry, document)
                assert await verdict_of(engine, entry, document) == expected, orjson.dumps(document).decode()
            for sample in samples():
                expected = verdict_of_both(truth, sample, document)
                found = await verdict_of(engine, "decision", document, sample)
                assert found == expected, orjson.dumps(document).decode()
                seen.add(expected.effect if isinstance(expected, Verdict) else expected)
        await engine.close()
    assert {"allow", "deny", "review", "policy_error", "policy_undefined"} <= seen
