package lockgate.rules.tenant.isolation_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.tenant.isolation

test_a_caller_of_a_known_tenant_passes if {
	found := isolation.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_caller_of_no_tenant_is_refused if {
	found := isolation.deny with input as fixtures.changed({"subject": {"tenant": null}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"tenant.unknown"}
}

test_a_caller_of_an_unknown_tenant_is_refused if {
	found := isolation.deny with input as fixtures.changed({"subject": {"tenant": "mars"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"tenant.unknown"}
}

test_tenants_may_be_optional if {
	found := isolation.deny with input as fixtures.changed({"subject": {"tenant": null}}) with data.lockgate.config as {"tenant": {"required": false}}
	count(found) == 0
}

test_naming_ones_own_tenant_passes if {
	found := isolation.deny with input as fixtures.changed({"request": {"headers": {"x-tenant": "eu"}}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_naming_another_tenant_is_refused if {
	found := isolation.deny with input as fixtures.changed({"request": {"headers": {"x-tenant": "us"}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"tenant.mismatch"}
}

test_another_tenants_host_is_refused if {
	found := isolation.deny with input as fixtures.changed({"request": {"host": "us.halden.example"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"tenant.mismatch"}
}

test_no_settings_serve_no_tenant if {
	found := isolation.deny with input as fixtures.decision with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"tenant.unknown"}
}
