package lockgate.admission_test

import data.lockgate.admission
import data.lockgate.lib.fixtures

test_a_known_caller_with_an_ordinary_request_is_let_in if {
	found := admission.result with input as fixtures.decision with data.lockgate.config as fixtures.config
	found.effect == "allow"
}

test_who_is_let_in_has_the_quotas_of_its_tenant if {
	settings := object.union(fixtures.config, {"quotas": {"tenants": {"eu": {"limit": 3, "per": "1m"}}}})
	found := admission.result with input as fixtures.decision with data.lockgate.config as settings
	found.obligations == [{"name": "rate_limit", "params": {"key": "tenant", "limit": 3, "per": "1m"}}]
}

test_an_anonymous_caller_is_refused_with_the_reason if {
	document := fixtures.changed({"subject": {"authenticated_by": "none"}})
	found := admission.result with input as document with data.lockgate.config as fixtures.config
	found.effect == "deny"
	found.reasons[0].code == "access.anonymous"
}

test_an_empty_document_is_refused if {
	found := admission.result with input as {} with data.lockgate.config as fixtures.config
	found.effect == "deny"
}

test_without_settings_nobody_is_let_in if {
	found := admission.result with input as fixtures.decision with data.lockgate.config as {}
	found.effect == "deny"
}
