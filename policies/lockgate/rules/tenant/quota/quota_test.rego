package lockgate.rules.tenant.quota_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.tenant.quota

quotas := {
	"tenants": {"eu": {"limit": 1000, "per": "1m"}, "*": {"limit": 10, "per": "1m"}},
	"roles": {"clerk": {"limit": 5, "per": "1s"}},
}

test_a_tenant_with_a_quota_of_its_own_has_that_one if {
	found := quota.obligations with input as fixtures.changed({"subject": {"roles": []}}) with data.lockgate.config as {"quotas": quotas}
	found == {{"name": "rate_limit", "params": {"key": "tenant", "limit": 1000, "per": "1m"}}}
}

test_every_other_tenant_has_the_common_one if {
	found := quota.obligations with input as fixtures.changed({"subject": {"tenant": "us", "roles": []}}) with data.lockgate.config as {"quotas": quotas}
	found == {{"name": "rate_limit", "params": {"key": "tenant", "limit": 10, "per": "1m"}}}
}

test_callers_of_no_tenant_have_the_common_one if {
	found := quota.obligations with input as fixtures.changed({"subject": {"tenant": null, "roles": []}}) with data.lockgate.config as {"quotas": quotas}
	found == {{"name": "rate_limit", "params": {"key": "tenant", "limit": 10, "per": "1m"}}}
}

test_a_role_has_a_quota_for_each_of_its_callers if {
	found := quota.obligations with input as fixtures.changed({"subject": {"roles": ["clerk", "auditor"]}}) with data.lockgate.config as {"quotas": {"roles": quotas.roles}}
	found == {{"name": "rate_limit", "params": {"key": "subject", "limit": 5, "per": "1s"}}}
}

test_unknown_roles_are_refused if {
	some nothing in [null, "clerk"]
	found := quota.deny with input as fixtures.changed({"subject": {"roles": nothing}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.incomplete"}
}

test_known_roles_are_not if {
	count(quota.deny) == 0 with input as fixtures.decision with data.lockgate.config as fixtures.config
}

test_without_settings_there_is_none if {
	found := quota.obligations with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_quota_with_a_part_missing_is_handed_on_to_be_refused if {
	found := quota.obligations with input as fixtures.changed({"subject": {"roles": []}}) with data.lockgate.config as {"quotas": {"tenants": {"eu": {"limit": 7}}}}
	found == {{"name": "rate_limit", "params": {"key": "tenant", "limit": 7}}}
}
