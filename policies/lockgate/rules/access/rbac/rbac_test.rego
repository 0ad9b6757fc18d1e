package lockgate.rules.access.rbac_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.access.rbac

test_a_role_granted_in_the_callers_tenant_passes if {
	found := rbac.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_the_grant_is_a_reason if {
	found := rbac.allow with input as fixtures.decision with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.granted"}
}

test_another_tenant_has_no_grant if {
	found := rbac.deny with input as fixtures.changed({"subject": {"tenant": "us"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_a_caller_without_a_tenant_has_no_grant_in_one if {
	found := rbac.deny with input as fixtures.changed({"subject": {"tenant": null}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_a_star_grants_in_every_tenant if {
	found := rbac.deny with input as fixtures.changed({"subject": {"roles": ["auditor"], "tenant": null}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_no_role_has_no_grant if {
	found := rbac.deny with input as fixtures.changed({"subject": {"roles": []}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_an_intents_own_entry_stands_in_for_its_risk_levels if {
	found := rbac.deny with input as fixtures.changed({"subject": {"roles": ["employee"]}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_an_intent_without_an_entry_is_granted_by_risk if {
	found := rbac.deny with input as fixtures.changed({"subject": {"roles": ["employee"]}, "classification": {"intent": "ask"}, "intent": {"name": "ask"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_an_intent_that_the_catalog_does_not_have_has_no_grant if {
	found := rbac.deny with input as fixtures.changed({"intent": null}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_a_request_without_need_of_an_intent_is_granted_by_route if {
	found := rbac.deny with input as fixtures.skipped with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_route_without_an_entry_has_no_grant if {
	found := rbac.deny with input as object.union(fixtures.skipped, {"route": {"name": "other"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_a_fallback_route_needs_a_grant_too if {
	found := rbac.deny with input as object.union(fixtures.fallback, {"subject": {"roles": ["employee"]}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_what_goes_nowhere_needs_no_grant if {
	found := rbac.deny with input as fixtures.abstained with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_no_settings_grant_nothing if {
	found := rbac.deny with input as fixtures.decision with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"rbac.no_grant"}
}

test_a_route_without_a_name_is_refused if {
	found := rbac.deny with input as fixtures.changed({"route": {"name": null}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.incomplete"}
}

test_all_tenants_are_also_none if {
	document := fixtures.changed({"subject": {"roles": ["auditor"], "tenant": null}})
	found := rbac.allow with input as document with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"rbac.granted"}
}
