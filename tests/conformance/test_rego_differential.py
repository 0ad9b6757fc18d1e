"""The embedded engine and OPA's own give the same verdict for thousands of documents, broken ones among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from opa_bindings import OpaError, OpaUndefinedError

from adapters.rego.embedded import load
from adapters.rego.result import parse_result
from router.decision import Verdict
from router.errors import PolicyError
from tests.conformance.rego_truth import ROOT, opa, settings, texts
from tests.unit.policy.halden import CATALOG, asking
from tests.unit.policy.test_input import VALID

DOCUMENTS = 2000
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
        return parse_result(engine.eval_document(f"lockgate.{entry}.result", document), entry)
    except OpaUndefinedError:
        return "policy_undefined"
    except OpaError:
        return "policy_error"
    except PolicyError as error:
        return error.code


async def verdict_of_embedded(engine: Any, entry: str, document: dict[str, Any]) -> Verdict | str:
    try:
        verdict = await engine.evaluate(entry, None, document)
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
                expected, found = verdict_of_opa(truth, entry, document), await verdict_of_embedded(embedded, entry, document)
                seen.add(f"{entry} {expected.effect if isinstance(expected, Verdict) else expected}")
                if found == "policy_error" != expected:
                    assert not VALID.is_valid(document), orjson.dumps(document).decode()
                    unable += 1
                else:
                    assert found == expected, orjson.dumps(document).decode()
    assert {"admission allow", "admission deny", "decision allow", "decision deny", "decision review"} <= seen
    assert unable < DOCUMENTS / 50
