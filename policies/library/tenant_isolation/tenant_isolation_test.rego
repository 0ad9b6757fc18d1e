package lockgate.library.tenant_isolation_test

import data.lockgate.library.fixtures
import data.lockgate.library.tenant_isolation

config := {"tenant": {"required": true, "known": ["eu", "us"], "header": "x-tenant", "hosts": {}}}

test_the_callers_own_tenant_passes if {
	found := tenant_isolation.deny with input as fixtures.decision with data.lockgate.config as config
	found == set()
}

test_another_tenant_in_the_header_does_not if {
	document := fixtures.changed({"request": {"headers": {"x-tenant": "us"}}})
	found := tenant_isolation.deny with input as document with data.lockgate.config as config
	fixtures.codes(found) == {"tenant.mismatch"}
}

test_without_headers_nobody_knows if {
	document := fixtures.changed({"request": {"headers": null}})
	found := tenant_isolation.deny with input as document with data.lockgate.config as config
	fixtures.codes(found) == {"request.incomplete"}
}

test_without_settings_everything_is_refused if {
	found := tenant_isolation.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"tenant.unknown"}
}
