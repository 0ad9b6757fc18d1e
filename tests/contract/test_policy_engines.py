"""What every policy engine does with the same answers: in this process, in confined ones, in memory, and in OPA's own engine over HTTP (or
in the server that `OPA_URL` names, which loses what it holds)."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.memory_policy import MemoryPolicy
from adapters.opa.server import OpaServer
from adapters.rego import isolated
from adapters.rego.embedded import load
from router.config.isolated import IsolatedEngine
from router.config.opa import OpaEngine
from router.decision import Effect, Obligation, Reason
from router.errors import PolicyError
from router.ports import PolicyEngine
from router.system import SystemClock
from tests.contract.opa_sidecar import Sidecar, sidecar

ALLOW = {"effect": "allow"}
QUOTA = {"key": "tenant", "limit": 3, "per": "1m"}
Make = Callable[[Mapping[str, Any]], PolicyEngine]


def texts(answers: Mapping[str, Any]) -> dict[str, str]:
    """Policies that give these answers; None is undefined."""
    texts = {}
    for path, answer in answers.items():
        rule = f"result := {json.dumps(answer)}" if answer is not None else "result := 1 if input.never"
        texts[f"{path}.rego"] = f"package lockgate.{path}\n\n{rule}\n"
    return texts


def embedded(answers: Mapping[str, Any]) -> PolicyEngine:
    return load(texts(answers), deadline_s=10)


@pytest.fixture(scope="module")
def opa() -> Iterator[Sidecar]:
    if url := os.environ.get("OPA_URL"):
        yield Sidecar(url.rstrip("/"))
        return
    with sidecar() as started:
        yield started


def apart(answers: Mapping[str, Any]) -> PolicyEngine:
    return isolated.load(IsolatedEngine(), texts(answers), {}, deadline_s=10)


@pytest.fixture(params=["embedded", "isolated", "memory", "opa"])
async def make(request) -> AsyncIterator[Make]:
    opened: list[PolicyEngine] = []

    def over_http(answers: Mapping[str, Any]) -> PolicyEngine:
        server: Sidecar = request.getfixturevalue("opa")
        server.fill(texts(answers))
        return OpaServer(OpaEngine(url=server.url), Path(), deadline_s=10, clock=SystemClock())

    makes: Mapping[str, Make] = {"embedded": embedded, "isolated": apart, "memory": MemoryPolicy, "opa": over_http}

    def made(answers: Mapping[str, Any]) -> PolicyEngine:
        opened.append(makes[request.param](answers))
        return opened[-1]

    yield made
    for engine in opened:
        await engine.close()


async def answering(make: Make, **answers: Any) -> PolicyEngine:
    engine = make({"admission": ALLOW, "decision": ALLOW} | {path.replace("__", "."): answer for path, answer in answers.items()})
    await engine.open()
    return engine


@pytest.mark.parametrize("entry", ["admission", "decision"])
async def test_an_answer_becomes_a_verdict(make, entry):
    """Effect, reasons and obligations arrive as they were given."""
    answer = {
        "effect": "allow",
        "reasons": [{"code": "a.b", "message": "because"}, {"code": "c"}],
        "obligations": [{"name": "tag", "params": {"tags": ["a.b", "c"]}}, {"name": "rate_limit", "params": QUOTA}],
    }
    verdict = await (await answering(make, **{entry: answer})).evaluate(entry, None, {})
    assert verdict.effect is Effect.ALLOW
    assert verdict.reasons == (Reason("a.b", "because"), Reason("c"))
    assert verdict.obligations == (Obligation("tag", {"tags": ["a.b", "c"]}), Obligation("rate_limit", QUOTA))


async def test_a_verdict_says_which_policies_gave_it(make):
    """Engine, revision and digest are on it."""
    engine = await answering(make)
    verdict = await engine.evaluate("decision", None, {})
    assert verdict.engine
    assert verdict.revision
    assert verdict.digest == engine.digest
    assert len(engine.digest) == 64


@pytest.mark.parametrize(
    ("one", "other", "wins"),
    [
        ("allow", "allow", Effect.ALLOW),
        ("allow", "review", Effect.REVIEW),
        ("review", "allow", Effect.REVIEW),
        ("review", "deny", Effect.DENY),
        ("deny", "allow", Effect.DENY),
        ("allow", "deny", Effect.DENY),
    ],
)
async def test_the_stricter_of_two_policies_wins(make, one, other, wins):
    """The intent's own package can tighten what the global one says, and the other way round."""
    engine = await answering(make, decision={"effect": one}, intents__pay={"effect": other})
    assert (await engine.evaluate("decision", "pay", {})).effect is wins


@pytest.mark.parametrize("other", ["allow", "review", "deny"])
async def test_a_reroute_is_stricter_than_allow_alone(make, other):
    """Being sent elsewhere is a restriction, but less of one than a review."""
    engine = await answering(make, decision={"effect": "reroute", "route": "safe"}, intents__pay={"effect": other})
    verdict = await engine.evaluate("decision", "pay", {})
    assert verdict.effect is (Effect.REROUTE if other == "allow" else Effect(other))
    assert verdict.reroute == ("safe" if other == "allow" else None)


async def test_reasons_and_obligations_of_both_are_kept_once(make):
    """The stricter policy's come first."""
    held = {
        "effect": "review",
        "reasons": [{"code": "b"}, {"code": "a"}],
        "obligations": [{"name": "require_review", "params": {"quorum": 2}}],
    }
    allowed = {"effect": "allow", "reasons": [{"code": "a"}], "obligations": [{"name": "mask_body"}]}
    verdict = await (await answering(make, decision=allowed, intents__pay=held)).evaluate("decision", "pay", {})
    assert [reason.code for reason in verdict.reasons] == ["b", "a"]
    assert [duty.name for duty in verdict.obligations] == ["require_review", "mask_body"]


async def test_different_reroutes_are_malformed(make):
    """A request cannot be sent to two places."""
    one, other = ({"effect": "reroute", "route": name} for name in ("a", "b"))
    with pytest.raises(PolicyError) as caught:
        await (await answering(make, decision=one, intents__pay=other)).evaluate("decision", "pay", {})
    assert caught.value.code == "policy_malformed"


async def test_an_intents_package_is_found_by_its_name_with_underscores(make):
    """`team.pay-out` is judged by `lockgate.intents.team_pay_out`."""
    engine = await answering(make, intents__team_pay_out={"effect": "deny"})
    assert (await engine.evaluate("decision", "team.pay-out", {})).effect is Effect.DENY


@pytest.mark.parametrize("intent", [None, "", "pay", "other"])
async def test_adopted_packages_are_asked_whatever_the_intent(make, intent):
    """The strictest of all that is asked wins, and each has its say."""
    judged = {"effect": "review", "reasons": [{"code": "a.adopted", "message": ""}], "obligations": [{"name": "mask_body", "params": {}}]}
    engine = await answering(make, intents__pay={"effect": "allow"}, adopted=judged)
    verdict = await engine.evaluate("decision", intent, {})
    assert (verdict.effect, [each.code for each in verdict.reasons]) == (Effect.REVIEW, ["a.adopted"])
    assert [each.name for each in verdict.obligations] == ["mask_body"]


async def test_adopted_packages_do_not_loosen(make):
    """An allow of theirs is none of the decision's."""
    engine = await answering(make, decision={"effect": "deny"}, adopted=ALLOW)
    assert (await engine.evaluate("decision", "pay", {})).effect is Effect.DENY


async def test_adopted_packages_have_no_say_at_admission(make):
    """They judge what was understood, but for those that say what they refuse before."""
    engine = await answering(make, adopted={"effect": "deny"})
    assert (await engine.evaluate("admission", None, {})).effect is Effect.ALLOW


async def test_adopted_packages_that_judge_admission_refuse_there_and_only_there(make):
    """Beside admission's own rule, of which they loosen nothing."""
    engine = await answering(make, adopted_admission={"effect": "deny", "reasons": [{"code": "a.outside", "message": ""}]})
    refused = await engine.evaluate("admission", None, {})
    assert (refused.effect, [each.code for each in refused.reasons]) == (Effect.DENY, ["a.outside"])
    assert (await engine.evaluate("decision", "pay", {})).effect is Effect.ALLOW
    engine = await answering(make, admission={"effect": "deny"}, adopted_admission=ALLOW)
    assert (await engine.evaluate("admission", None, {})).effect is Effect.DENY


async def test_adopted_packages_without_an_answer_at_admission_deny(make):
    """As after it."""
    engine = await answering(make, adopted_admission=None)
    with pytest.raises(PolicyError) as caught:
        await engine.evaluate("admission", None, {})
    assert caught.value.code == "policy_undefined"


async def test_adopted_packages_without_an_answer_deny(make):
    """Undefined is no answer."""
    engine = await answering(make, adopted=None)
    with pytest.raises(PolicyError) as caught:
        await engine.evaluate("decision", None, {})
    assert caught.value.code == "policy_undefined"


async def test_an_intent_without_a_package_is_judged_globally(make):
    """The global policy is enough."""
    engine = await answering(make, intents__pay={"effect": "deny"})
    assert (await engine.evaluate("decision", "other", {})).effect is Effect.ALLOW


async def test_of_several_intents_the_strictest_verdict_wins(make):
    """What any of them forbids is forbidden, and what any of them demands holds; those without a package have nothing to say."""
    held = {"effect": "review", "obligations": [{"name": "limit_response", "params": {"bytes": 9}}]}
    gone = {"effect": "deny", "status": 404, "obligations": [{"name": "tag", "params": {"tags": ["a"]}}]}
    engine = await answering(make, intents__pay=held, intents__team_pay_out=gone, intents__other={"effect": "deny", "status": 410})
    verdict = await engine.evaluate("decision", ("look", "pay", "team.pay-out", "pay"), {})
    assert (verdict.effect, verdict.status) == (Effect.DENY, 404)
    assert {duty.name for duty in verdict.obligations} == {"limit_response", "tag"}
    assert (await engine.evaluate("decision", ("look", "pay"), {})).effect is Effect.REVIEW
    assert (await engine.evaluate("decision", (), {})).effect is Effect.ALLOW
    assert (await engine.evaluate("admission", ("pay", "other"), {})).effect is Effect.ALLOW


async def test_one_intent_whose_policy_gives_no_verdict_denies_the_others_too(make):
    """It might have forbidden it."""
    with pytest.raises(PolicyError) as caught:
        await (await answering(make, intents__pay=None)).evaluate("decision", ("look", "pay"), {})
    assert caught.value.code == "policy_undefined"


@pytest.mark.parametrize(("one", "other", "status"), [(404, 410, 404), (None, 410, 410), (404, None, 404), (None, None, None)])
async def test_of_two_denials_the_first_status_that_is_named_counts(make, one, other, status):
    """The entry point's comes before the intents'."""
    answers = [{"effect": "deny", **({"status": each} if each is not None else {})} for each in (one, other)]
    verdict = await (await answering(make, decision=answers[0], intents__pay=answers[1])).evaluate("decision", "pay", {})
    assert verdict.status == status


async def test_admission_asks_no_intents_package(make):
    """There is no intent yet."""
    engine = await answering(make, intents__pay={"effect": "deny"})
    assert (await engine.evaluate("admission", "pay", {})).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"decision": None}, "policy_undefined"),
        ({"intents__pay": None}, "policy_undefined"),
        ({"decision": []}, "policy_malformed"),
        ({"decision": {"effect": "deny", "why": 1}}, "policy_malformed"),
        ({"decision": {"effect": "allow", "obligations": [{"name": "sing"}]}}, "obligation_unknown"),
        ({"intents__pay": {"effect": "perhaps"}}, "policy_malformed"),
    ],
)
async def test_what_is_no_verdict_is_an_error_with_its_code(make, answers, code):
    """An engine never guesses."""
    with pytest.raises(PolicyError) as caught:
        await (await answering(make, **answers)).evaluate("decision", "pay", {})
    assert caught.value.code == code


async def test_an_unknown_entry_point_is_undefined(make):
    """Nothing but admission and decision can be asked."""
    with pytest.raises(PolicyError) as caught:
        await (await answering(make)).evaluate("result", None, {})
    assert caught.value.code == "policy_undefined"
