"""What policy demands is done, or the decision is a denial: never recorded as allowed, never sent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapters.local_quotas import LocalQuotas
from adapters.memory_destination import Answer
from adapters.memory_policy import MemoryPolicy
from router.decision import Classification, Obligation, Status, Subject, Verdict
from router.errors import DestinationError, StateError
from router.ports import Intents, Quota
from router.review.packing import open_content
from router.system import SystemClock
from tests.faults.gateway_harness import ALLOW, CLERK, REVIEW, House, ScriptedTier

BODY = b'{"message": "cancel payment 4711", "customer": {"iban": "DE1", "id": 7}}'


def house(*obligations: dict[str, Any], verdict: dict[str, Any] = ALLOW, admission: Sequence[dict[str, Any]] = (), **more: Any) -> House:
    return House(
        policy={"admission": {**ALLOW, "obligations": list(admission)}, "decision": {**verdict, "obligations": list(obligations)}}, **more
    )


def duty(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "params": params}


def decided(made: House) -> list[tuple[str, str | None]]:
    """Effect and first reason of each decision that was recorded."""
    leaves = [leaf["verdict"] for leaf in made.leaves if leaf["schema"] == "lockgate.decision.v1"]
    return [(each["effect"], each["reasons"][0] if each["reasons"] else None) for each in leaves]


QUOTA = duty("rate_limit", key="subject", limit=2, per="1m")


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("sing", {}, "obligation_unknown"),
        ("mask_body", {"hard": True}, "obligation_failed"),
        ("add_headers", {"headers": {"x-lockgate-intent": "a"}}, "obligation_failed"),
        ("redact_fields", {"fields": ["iban"]}, "obligation_failed"),
        ("require_step_up", {}, "obligation_failed"),
        ("rate_limit", {"key": "moon", "limit": 1, "per": "1m"}, "obligation_failed"),
        ("mirror", {"destination": "nowhere"}, "mirror_unknown"),
        ("limit_response", {"bytes": 0}, "obligation_failed"),
        ("tag", {"tags": ["Anna Schmidt"]}, "obligation_failed"),
    ],
)
async def test_what_cannot_be_done_is_a_denial_before_it_is_recorded(name: str, params: dict[str, Any], code: str) -> None:
    """The record says denied; there is none that says allowed."""
    made = house(duty(name, **params))
    reply = await made.ask()
    assert (reply.status, reply.code, made.reached) == (403, code, [])
    assert decided(made) == [("deny", code)]


@pytest.mark.parametrize("name", ["mask_body", "redact_fields", "mirror", "require_review"])
async def test_admission_can_only_count_and_tag(name: str) -> None:
    """The rest needs what is known only later."""
    made = house(admission=[duty(name)])
    assert ((await made.ask()).code, made.reached) == ("obligation_failed", [])


async def test_fields_are_taken_out_before_dispatch() -> None:
    """The upstream never sees them; the rest stays."""
    made = house(duty("redact_fields", fields=["/customer/iban"]))
    assert (await made.ask(BODY)).status == 200
    assert json.loads(made.reached[0].body) == {"message": "cancel payment 4711", "customer": {"id": 7}}  # type: ignore[arg-type]


async def test_a_body_without_readable_fields_is_a_recorded_denial() -> None:
    """Another shape than policy thought of; nothing is sent."""
    made = house(duty("redact_fields", fields=["/customer/iban"]))
    reply = await made.ask(b'{"message": "cancel payment 4711", "customer": [{"iban": "DE1"}]}')
    assert (reply.status, reply.code, made.reached) == (403, "obligation_failed", [])
    assert decided(made) == [("deny", "obligation_failed")]


async def test_a_body_that_cannot_be_masked_is_a_recorded_denial() -> None:
    """A picture, for example: what is not sent is not recorded as allowed."""
    made = house(duty("mask_body"))
    reply = await made.ask(b"\x89PNG", "PUT", "/payments/7", content_type=b"image/png")
    assert (reply.status, reply.code, made.reached) == (403, "obligation_failed", [])
    assert decided(made) == [("deny", "obligation_failed")]


async def test_a_held_request_waits_without_the_fields() -> None:
    """What is dispatched after an approval is what was held."""
    made = house(duty("redact_fields", fields=["/customer/iban"]), verdict=REVIEW)
    assert (await made.ask(BODY)).status == 202
    key = (await made.runtime.holder._keys.key_for("anna"))[1]  # type: ignore[attr-defined]
    content = open_content(key, made.holds.held[0])
    assert b"DE1" not in content.outbound.body  # type: ignore[operator]
    assert b'"id":7' in content.outbound.body  # type: ignore[operator]


async def test_a_denial_has_the_status_that_policy_gives_it() -> None:
    """For the caller and in the record."""
    verdict = {"effect": "deny", "status": 404, "reasons": [{"code": "test.hidden", "message": "There is no such payment."}]}
    made = house(verdict=verdict)
    reply = await made.ask()
    assert (reply.status, reply.problem["detail"], reply.problem["status"]) == (404, "There is no such payment.", 404)
    assert made.leaves[0]["outcome"]["status"] == 404


async def test_admission_denies_with_a_status_too() -> None:
    """And a 401 says how to authenticate."""
    made = House(policy={"admission": {"effect": "deny", "status": 401, "reasons": [{"code": "a.b"}]}, "decision": ALLOW})
    reply = await made.ask()
    assert (reply.status, reply.headers[b"www-authenticate"]) == (401, b'Bearer realm="lockgate"')


def known(**claims: Any) -> Subject:
    return Subject("anna", "user", ("clerk",), claims=claims, authenticated_by="jwt")


async def test_a_step_up_is_asked_for_in_the_words_of_rfc_9470() -> None:
    """401 with the challenge, recorded as a denial."""
    made = house(duty("require_step_up", acr=["gold"], max_age="5m"), caller=known(acr="silver"))
    reply = await made.ask()
    assert (reply.status, reply.code, made.reached) == (401, "step_up_required", [])
    told = reply.headers[b"www-authenticate"].decode()
    assert 'error="insufficient_user_authentication"' in told
    assert 'acr_values="gold", max_age="300"' in told
    assert decided(made) == [("deny", "step_up_required")]


async def test_who_authenticated_well_goes_on() -> None:
    """The claims of the token say so."""
    made = house(duty("require_step_up", acr=["gold"], max_age="5m"), caller=known(acr="gold", auth_time=time.time() - 10))
    assert ((await made.ask()).status, len(made.reached)) == (200, 1)


async def test_an_api_key_cannot_step_up() -> None:
    """There is nothing that it could do better: 403."""
    reply = await house(duty("require_step_up", acr=["gold"]), caller=CLERK).ask()
    assert (reply.status, reply.code) == (403, "step_up_impossible")


async def test_a_quota_lets_so_many_through_and_says_when_to_come_again() -> None:
    """After classification each refusal is a decision of its own."""
    made = house(QUOTA, quotas=LocalQuotas(SystemClock()))
    replies = [await made.ask() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].code == "policy_rate_limited"
    assert replies[2].headers[b"ratelimit-policy"] == b'"subject";q=2;w=60'
    assert 1 <= int(replies[2].headers[b"retry-after"]) <= 61
    assert len(made.reached) == 2
    assert decided(made)[2] == ("deny", "policy_rate_limited")


async def test_at_admission_a_refusal_by_quota_is_counted_and_not_decided() -> None:
    """A flood does not buy a record each."""
    made = house(admission=[QUOTA], quotas=LocalQuotas(SystemClock()))
    replies = [await made.ask() for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert b"retry-after" in replies[3].headers
    assert b"ratelimit" in replies[3].headers
    assert len(decided(made)) == 2
    assert made.seen.refusals == [("policy_rate_limited", 429)] * 2


class Silent:
    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        raise StateError("nobody answers")


@pytest.mark.parametrize("quotas", [None, Silent()])
@pytest.mark.parametrize("where", ["admission", "decision"])
async def test_a_quota_that_cannot_be_counted_is_a_denial(quotas: Any, where: str) -> None:
    """Never an allow."""
    made = house(*([QUOTA] if where == "decision" else []), admission=[QUOTA] if where == "admission" else [], quotas=quotas)
    reply = await made.ask()
    assert (reply.status, reply.code, made.reached) == (503, "policy_rate_limit_unavailable", [])


async def test_what_is_denied_takes_nothing_from_a_quota() -> None:
    """Counting comes last."""
    quotas = LocalQuotas(SystemClock())
    await house(QUOTA, duty("mirror", destination="nowhere"), quotas=quotas).ask()
    assert len(quotas) == 0


async def _settled(made: House) -> None:
    """Every copy has come to its end."""
    await asyncio.gather(*made.mirroring.under_way)


async def test_a_copy_goes_out_as_the_request_does_and_without_its_credentials() -> None:
    """Masked and redacted; the caller hears nothing of its answer."""
    made = house(duty("redact_fields", fields=["/customer/iban"]), duty("mirror", destination="shadow"))
    made.shadowed = Answer(500, [], b"no")
    reply = await made.ask(BODY, headers=[(b"authorization", b"Bearer x"), (b"cookie", b"a=b")])
    await _settled(made)
    assert (reply.status, reply.body, made.copied) == (200, b"done", ["sent"])
    assert made.copies[0].body == made.reached[0].body
    assert not {name for name, _ in made.copies[0].headers} & {b"authorization", b"cookie"}


@pytest.mark.parametrize("trouble", [DestinationError("down", "connect_failed"), RuntimeError("odd")])
async def test_a_copy_that_fails_fails_nobody(trouble: Exception) -> None:
    """It is counted."""
    made = house(duty("mirror", destination="shadow"))
    made.shadowed = trouble  # type: ignore[assignment]
    assert (await made.ask()).status == 200
    await _settled(made)
    assert made.copied == ["failed"]


async def test_a_request_that_waits_for_a_person_is_not_copied() -> None:
    """Nothing of it goes out before it is approved."""
    made = house(duty("mirror", destination="shadow"), verdict=REVIEW)
    reply = await made.ask()
    assert (reply.code, made.copies, made.holds.held) == ("obligation_failed", [], [])


async def test_an_answer_that_announces_too_much_is_refused() -> None:
    """502, and none of it reaches the caller."""
    made = house(duty("limit_response", bytes=10), duty("limit_response", bytes=3))
    made.answer = Answer(200, [(b"content-length", b"4")], b"done")
    reply = await made.ask()
    assert (reply.status, reply.code) == (502, "response_too_large")
    assert (made.leaves[1]["outcome"]["status"], made.leaves[1]["outcome"]["reason"]) == (502, "response_too_large")


async def test_an_answer_that_turns_out_too_long_is_broken_off() -> None:
    """What was cut never looks whole."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"xxx"

    made = house(duty("limit_response", bytes=7))
    made.answer = Answer(200, [], pieces())
    reply = await made.ask()
    assert (reply.status, reply.body, reply.complete) == (200, b"xxxxxx", False)
    outcome = made.leaves[1]["outcome"]
    assert (outcome["result"], outcome["reason"], outcome["response_bytes"], outcome["complete"]) == (
        "failed",
        "response_too_large",
        6,
        False,
    )


async def test_an_answer_within_the_limit_passes() -> None:
    """To the last byte."""
    made = house(duty("limit_response", bytes=4))
    reply = await made.ask()
    assert (reply.status, reply.body, reply.complete) == (200, b"done", True)


async def test_tags_are_recorded_in_the_clear() -> None:
    """Each once, in order; a verdict without has no such field."""
    made = house(duty("tag", tags=["b", "a"]), duty("tag", tags=["a"]), admission=[duty("tag", tags=["in"])])
    await made.ask()
    leaf = made.leaves[0]
    assert (leaf["admission"]["tags"], leaf["verdict"]["tags"]) == (["in"], ["a", "b"])
    plain = house()
    await plain.ask()
    assert "tags" not in plain.leaves[0]["verdict"]


UNSURE = Classification(
    Status.AMBIGUOUS, None, 0.5, 0.01, 0.9, prediction_set=("cancel", "status"), reason="several_plausible", tier="encoder"
)


@pytest.mark.parametrize("forbidding", ["cancel", "status"])
async def test_a_request_that_may_mean_several_things_is_judged_as_each_of_them(forbidding: str) -> None:
    """It goes to a fallback route only where no reading of it forbids that."""
    policy = {
        "admission": ALLOW,
        "decision": ALLOW,
        f"intents.{forbidding}": {"effect": "deny", "status": 404, "reasons": [{"code": "a.b"}]},
    }
    made = House(tier=ScriptedTier(UNSURE), policy=policy, on_abstain="desk")
    reply = await made.ask()
    assert (reply.status, reply.code, made.reached) == (404, "a.b", [])


async def test_without_a_policy_that_forbids_it_goes_to_the_fallback_route() -> None:
    """With what each of them demands."""
    policy = {
        "admission": ALLOW,
        "decision": ALLOW,
        "intents.status": {**ALLOW, "obligations": [duty("add_headers", headers={"x-a": "1"})]},
    }
    made = House(tier=ScriptedTier(UNSURE), policy=policy, on_abstain="desk")
    assert (await made.ask()).status == 200
    assert (b"x-a", b"1") in made.reached[0].headers


async def test_what_may_mean_anything_goes_nowhere() -> None:
    """More plausible intents than policies can be asked about: denied where it would have gone somewhere, else asked back as before."""
    vague = replace(UNSURE, status=Status.UNDETERMINED, prediction_set=tuple(f"i{number}" for number in range(33)))
    made = House(tier=ScriptedTier(vague), on_abstain="desk")
    reply = await made.ask()
    assert (reply.status, reply.code, made.reached) == (403, "policy_intents_too_many", [])
    assert (await House(tier=ScriptedTier(vague)).ask()).status == 422


class Foreign(MemoryPolicy):
    """An engine that reads its answers in a way of its own."""

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        return replace(await super().evaluate(entry, intent, document), obligations=(Obligation("sing"),))


async def test_whatever_the_engine_its_obligations_are_judged() -> None:
    """Before anything is recorded as allowed."""
    made = House(policy=Foreign({"admission": ALLOW, "decision": ALLOW}))
    reply = await made.ask()
    assert (reply.status, reply.code, made.reached) == (403, "obligation_unknown", [])


@pytest.mark.parametrize("demand", [duty("redact_fields", fields=["/a"]), duty("mirror", destination="shadow"), duty("mask_body")])
async def test_what_needs_the_whole_body_denies_where_only_a_part_was_seen(demand: dict[str, Any]) -> None:
    """It might stand in the rest."""
    made = house(demand)
    reply = await made.ask(b'{"message": "' + b"x" * 300_000 + b'"}')
    assert (reply.status, reply.code, made.reached) == (403, "body_truncated", [])
    assert decided(made) == [("deny", "body_truncated")]
