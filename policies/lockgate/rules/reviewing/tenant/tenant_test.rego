package lockgate.rules.reviewing.tenant_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.reviewing.tenant

test_a_reviewer_of_no_tenant_decides_about_any if {
	found := tenant.deny with input as fixtures.attempt
	count(found) == 0
}

test_a_reviewer_decides_within_the_tenant if {
	found := tenant.deny with input as fixtures.attempted({"reviewer": {"tenant": "eu"}})
	count(found) == 0
}

test_another_tenants_reviewer_is_refused if {
	found := tenant.deny with input as fixtures.attempted({"reviewer": {"tenant": "us"}})
	{each.code | some each in found} == {"review.tenant_mismatch"}
}

test_a_request_of_no_tenant_is_not_a_tenants if {
	found := tenant.deny with input as fixtures.attempted({"reviewer": {"tenant": "eu"}, "review": {"tenant": null}})
	{each.code | some each in found} == {"review.tenant_mismatch"}
}
