"""Halden's policies decide what the demonstration shows."""

from __future__ import annotations

import pytest

from router.decision import Effect, Finding, Verdict
from router.stages.policy import admission_input
from tests.unit.policy.halden import CATALOG, HALDEN, asking, engine, rego, request

IBAN = (Finding("pii.iban", 1.0),)


@pytest.fixture(scope="module")
def halden():
    return engine()


async def decided(halden, intent: str, *roles: str, **more) -> tuple[Effect, str]:
    verdict: Verdict = await halden.evaluate("decision", intent, asking(intent, *roles, **more))
    return verdict.effect, verdict.reasons[0].code


def test_haldens_rego_is_what_ships():
    """The example has its own data and none of its own rules."""
    assert rego(HALDEN / "policies") == {}
    assert "path: ../../policies" in (HALDEN / "lockgate.yaml").read_text()


@pytest.mark.parametrize(
    ("intent", "roles"),
    [
        ("payment_status", ("employee", "finance_clerk")),
        ("leave_balance", ("employee",)),
        ("get_payslip", ("employee",)),
        ("unlock_account", ("contractor",)),
        ("report_lost_device", ("contractor",)),
        ("report_misconduct", ("employee",)),
        ("cancel_payment", ("employee", "finance_manager")),
        ("ticket_status", ("employee", "it_agent")),
        ("invoice_status", ("service",)),
    ],
)
async def test_what_a_role_may_do_is_allowed(halden, intent, roles):
    """Ordinary work is not in anybody's way."""
    assert await decided(halden, intent, *roles) == (Effect.ALLOW, "rbac.granted")


@pytest.mark.parametrize(
    ("intent", "roles"),
    [
        ("change_supplier_bank_details", ("contractor",)),
        ("cancel_payment", ("employee",)),
        ("approve_payment", ("employee", "finance_clerk")),
        ("grant_admin_access", ("employee",)),
        ("leave_balance", ()),
    ],
)
async def test_what_no_role_may_do_is_denied(halden, intent, roles):
    """Without a grant there is no way through."""
    assert await decided(halden, intent, *roles) == (Effect.DENY, "rbac.no_grant")


@pytest.mark.parametrize("intent", ["create_payment", "cancel_payment", "refund_payment"])
async def test_a_clerks_payments_are_held_for_the_managers(halden, intent):
    """Money leaves with two pairs of eyes."""
    verdict = await halden.evaluate("decision", intent, asking(intent, "employee", "finance_clerk"))
    assert verdict.effect is Effect.REVIEW
    assert verdict.obligations[0].params == {"reviewers": ["finance_manager"], "quorum": 1, "expires": "24h"}


async def test_bank_details_need_two_reviewers_whoever_asks(halden):
    """What is critical is held even for a manager."""
    verdict = await halden.evaluate("decision", None, asking("change_supplier_bank_details", "finance_manager"))
    assert (verdict.effect, verdict.obligations[0].params["quorum"]) == (Effect.REVIEW, 2)


async def test_a_credential_in_the_text_is_denied(halden):
    """Passwords are not passed on."""
    found = (Finding("secret.aws_key", 1.0),)
    assert await decided(halden, "vpn_problem", "employee", findings=found) == (Effect.DENY, "signals.secret")


@pytest.mark.parametrize(("score", "effect"), [(0.3, Effect.ALLOW), (0.5, Effect.REVIEW), (0.9, Effect.DENY)])
async def test_prompt_injection_is_judged_by_its_score(halden, score, effect):
    """Weak signs pass, likely ones wait, plain ones are refused."""
    found = (Finding("injection", score),)
    verdict = await halden.evaluate("decision", None, asking("vpn_problem", "employee", findings=found))
    assert verdict.effect is effect


async def test_the_it_desk_gets_masked_bodies(halden):
    """Personal data is masked on the way to the desk and nowhere else."""
    desk = await halden.evaluate("decision", None, asking("vpn_problem", "employee", findings=IBAN))
    payments = await halden.evaluate("decision", None, asking("invoice_status", "employee", findings=IBAN))
    assert [duty.name for duty in desk.obligations] == ["mask_body"]
    assert payments.obligations == ()


@pytest.mark.parametrize("tenant", [None, "elsewhere"])
async def test_a_stranger_to_both_tenants_is_not_admitted(halden, tenant):
    """Everybody at Halden belongs to one of its two houses."""
    verdict = await halden.evaluate("admission", None, admission_input(request("employee", tenant=tenant)))
    assert (verdict.effect, verdict.reasons[0].code) == (Effect.DENY, "tenant.unknown")


async def test_naming_the_other_house_is_not_admitted(halden):
    """A header cannot move a caller from one tenant to the other."""
    document = admission_input(request("employee", headers=(("x-halden-tenant", "halden-us"),)))
    verdict = await halden.evaluate("admission", None, document)
    assert (verdict.effect, verdict.reasons[0].code) == (Effect.DENY, "tenant.mismatch")


@pytest.mark.parametrize("intent", CATALOG["intents"])
async def test_nobody_without_a_role_gets_anything(halden, intent):
    """Every intent of the catalog needs a grant."""
    assert await decided(halden, intent) in {(Effect.DENY, "rbac.no_grant")}
