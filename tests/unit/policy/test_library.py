"""What a workspace's policies become by adopting packages of the library."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from adapters.rego.embedded import load
from adapters.rego.testing import run_tests
from router.decision import Effect, Verdict
from router.errors import ConfigError
from router.library import adopt, packages, place
from router.library_joining import ADMITTING, JOINED
from tests.unit.policy.halden import ROOT

ADMIT = 'package lockgate.admission\n\nresult := {"effect": "allow"}\n'
DECIDE = 'package lockgate.decision\n\nresult := {"effect": "allow"}\n'
FOREIGN = {"mine/a.rego": ADMIT, "mine/d.rego": DECIDE}
SHIPPED = {
    f"policies/{file.relative_to(place())}": file.read_text()
    for file in sorted((place() / "lockgate").rglob("*.rego"))
    if not file.name.endswith("_test.rego")
}
REQUEST: dict[str, Any] = {
    "entry": "decision",
    "request": {
        "method": "POST",
        "client": "10.1.7.4",
        "host": "halden.example",
        "path_parts": ["ask"],
        "headers": {"x-break-glass": "the clearing is stuck"},
        "body": {"bytes": 1, "truncated": False, "problem": None},
        "time": {"ns": 1795856400000000000, "iso": "2026-11-28T09:00:00Z"},
    },
    "subject": {"id": "ada", "roles": ["clerk"], "groups": [], "tenant": "eu", "claims": {}, "authenticated_by": "jwt"},
    "signals": {"findings": {}, "unknown": []},
    "classification": {"status": "classified", "intent": "pay", "confidence": 0.9, "tier": "encoder", "prediction_set": ["pay"]},
    "risk": {"level": "low"},
    "intent": {"name": "pay", "risk": "low"},
    "route": {"name": "bank.ask", "destination": "bank"},
}


def example(*names: str) -> dict[str, Any]:
    """The packages' own example data, together."""
    found: dict[str, Any] = {}
    for name in names:
        found |= yaml.safe_load((place() / "library" / name / "example.yaml").read_text())["lockgate"]["config"]
    return found


async def judged(own: dict[str, str], names: tuple[str, ...], config: dict[str, Any], request: dict[str, Any] = REQUEST) -> Verdict:
    engine = load({**own, **adopt(own, names).policies}, {"lockgate": {"config": config}})
    return await engine.evaluate(request["entry"], "pay", request)


def letting(name: str) -> dict[str, str]:
    """Policies of others, but for a package that lifts something."""
    return SHIPPED if name == "break_glass" else FOREIGN


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


async def test_a_package_judges_beside_policies_that_never_heard_of_it() -> None:
    """They have no library of rules, nor anything that it imports."""
    verdict = await judged(FOREIGN, ("working_hours",), example("working_hours"))
    assert (verdict.effect, codes(verdict)) == (Effect.DENY, ["working_hours.closed"])


async def test_what_is_allowed_by_all_is_allowed() -> None:
    """An adopted package that has nothing to say changes nothing."""
    monday = REQUEST | {"request": REQUEST["request"] | {"time": {"ns": 1796029200000000000, "iso": "2026-11-30T09:00:00Z"}}}
    verdict = await judged(FOREIGN, ("working_hours",), example("working_hours"), monday)
    assert (verdict.effect, codes(verdict)) == (Effect.ALLOW, [])


@pytest.mark.parametrize("name", packages())
async def test_a_package_without_its_settings_refuses_everything(name: str) -> None:
    """With a code of its own, or that of the rules which it brings; before anything is classified, where it judges that."""
    entry = "decision" if JOINED in adopt(letting(name), (name,)).policies else "admission"
    verdict = await judged(letting(name), (name,), {}, REQUEST | {"entry": entry})
    assert verdict.effect is Effect.DENY
    assert all("." in code for code in codes(verdict))


@pytest.mark.parametrize("name", packages())
def test_every_line_of_a_package_is_evaluated_by_its_tests(name: str) -> None:
    """In policies that have nothing else; the module that is made needs no test of its own."""
    files = adopt(letting(name), (name,))
    run = run_tests({**letting(name), **files.policies}, files.tests, {})
    assert [each.name for each in run.outcomes if each.outcome == "failed"] == []
    assert {each.file: each.missed for each in run.coverage if each.missed and each.file.startswith(f"library/{name}/")} == {}


async def test_where_a_request_comes_from_is_judged_at_admission() -> None:
    """And only there."""
    coming = REQUEST | {"entry": "admission", "request": REQUEST["request"] | {"client": "198.51.100.7"}}
    verdict = await judged(FOREIGN, ("source_address", "working_hours"), example("source_address"), coming)
    assert (verdict.effect, codes(verdict)) == (Effect.DENY, ["source.outside"])
    at_the_office = await judged(FOREIGN, ("source_address",), example("source_address"), REQUEST | {"entry": "admission"})
    assert (at_the_office.effect, codes(at_the_office)) == (Effect.ALLOW, [])
    understood = await judged(FOREIGN, ("source_address",), example("source_address"), coming | {"entry": "decision"})
    assert understood.effect is Effect.ALLOW


def test_only_what_is_asked_for_is_joined() -> None:
    """A question that has nothing to say costs as much as one that has."""
    assert adopt(FOREIGN, ("source_address",)).policies.keys() & {JOINED, ADMITTING} == {ADMITTING}
    assert adopt(FOREIGN, ("rbac",)).policies.keys() & {JOINED, ADMITTING} == {JOINED}
    assert adopt(FOREIGN, ("rbac", "source_address")).policies.keys() >= {JOINED, ADMITTING}


async def test_all_together_are_sound() -> None:
    """In one set, beside the shipped policies."""
    verdict = await judged(SHIPPED, packages(), {})
    assert verdict.effect is Effect.DENY


async def test_rules_that_are_there_already_are_not_brought_again() -> None:
    """The shipped policies have those of `rbac`; only the package itself comes."""
    assert adopt(SHIPPED, ("rbac",)).policies.keys() == {"library/rbac/rbac.rego", JOINED}
    assert "library/rules/access/rbac/rbac.rego" in adopt(FOREIGN, ("rbac",)).policies


async def test_a_package_of_ones_own_stands_in_for_the_librarys() -> None:
    """By its package, wherever it lies."""
    text = 'package lockgate.library.working_hours\n\nreview contains {"code": "mine.late", "message": ""} if input.subject.id == "ada"\n'
    own = {**FOREIGN, "mine/hours.rego": text}
    assert "library/working_hours/working_hours.rego" not in adopt(own, ("working_hours",)).policies
    verdict = await judged(own, ("working_hours",), {})
    assert (verdict.effect, codes(verdict)) == (Effect.REVIEW, ["mine.late"])


async def test_a_grant_lifts_what_it_names_and_is_a_reason() -> None:
    """The caller has no role for it; two others said that she may."""
    verdict = await judged(SHIPPED, ("break_glass",), shipped_config(access={"risks": {}, "intents": {}}, **example("break_glass")))
    assert (verdict.effect, codes(verdict)) == (Effect.ALLOW, ["break_glass.used"])
    assert [each.name for each in verdict.obligations] == ["log"]


async def test_without_a_grant_the_same_request_is_refused() -> None:
    """And its attempt has a code."""
    config = shipped_config(access={"risks": {}, "intents": {}}, **example("break_glass"))
    config["break_glass"]["grants"] = []
    verdict = await judged(SHIPPED, ("break_glass",), config)
    assert verdict.effect is Effect.DENY
    assert set(codes(verdict)) == {"rbac.no_grant", "break_glass.refused"}


async def test_who_is_on_call_asks_two_people() -> None:
    """What is lifted is held, and not allowed."""
    config = shipped_config(access={"risks": {}, "intents": {}}, **example("break_glass"))
    asking = REQUEST | {"subject": REQUEST["subject"] | {"id": "eve", "roles": ["on_call"]}}
    verdict = await judged(SHIPPED, ("break_glass",), config, asking)
    assert (verdict.effect, codes(verdict)) == (Effect.REVIEW, ["break_glass.asked"])
    assert {each.name: each.params.get("quorum") for each in verdict.obligations} == {"require_review": 2, "log": None}


async def test_a_grant_lifts_nothing_of_what_may_not_be_lifted() -> None:
    """A credential in the request stays one."""
    config = shipped_config(access={"risks": {}, "intents": {}}, **example("break_glass"))
    config["break_glass"]["lifts"].append("signals.secret")
    holding = REQUEST | {"signals": {"findings": {"secret.jwt": {"score": 1, "count": 1}}, "unknown": []}}
    verdict = await judged(SHIPPED, ("break_glass",), config, holding)
    assert (verdict.effect, codes(verdict)[0]) == (Effect.DENY, "signals.secret")


async def test_a_grant_lifts_what_other_packages_refuse() -> None:
    """Of those that are named."""
    config = shipped_config(**example("break_glass", "working_hours"))
    verdict = await judged(SHIPPED, ("working_hours", "break_glass"), config)
    assert (verdict.effect, codes(verdict)) == (Effect.ALLOW, ["rbac.granted", "break_glass.used"])


def test_a_package_that_lifts_needs_policies_that_let_it() -> None:
    """Otherwise it would lift nothing when it is needed."""
    assert "do not ask 'data.lockgate.exceptions'" in refused(FOREIGN, "break_glass")
    asked_by_nobody = {**FOREIGN, "mine/e.rego": SHIPPED["policies/lockgate/exceptions.rego"]}
    assert "do not ask 'data.lockgate.exceptions'" in refused(asked_by_nobody, "break_glass")


def test_an_unknown_package_is_refused_with_a_suggestion() -> None:
    """As everything that is misspelt."""
    assert "no package 'working_hour'. Did you mean 'working_hours'?" in refused(FOREIGN, "working_hour")


def test_the_place_of_the_join_must_be_free() -> None:
    """Neither its package nor its path may be somebody's."""
    assert "mine/x.rego:1: The package 'lockgate.adopted'" in refused({**FOREIGN, "mine/x.rego": "package lockgate.adopted\n"}, "rbac")
    text = "package lockgate.adopted_admission\n"
    assert "mine/x.rego:1: The package 'lockgate.adopted_admission'" in refused({**FOREIGN, "mine/x.rego": text}, "rbac")
    assert "library/adopted.rego:1: A file that is adopted" in refused({**FOREIGN, JOINED: "package lockgate.x\n"}, "rbac")


def test_nothing_named_is_nothing_added() -> None:
    """Not even the module that joins."""
    assert adopt(FOREIGN, ()).policies == {}


def refused(own: dict[str, str], name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        adopt(own, (name,))
    return str(caught.value)


def shipped_config(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "policies" / "data.yaml").read_text())["lockgate"]["config"]
    access = {"risks": {"low": {"clerk": ["*"]}}, "intents": {}, "routes": {}}
    return {**config, "access": access, **changes}
