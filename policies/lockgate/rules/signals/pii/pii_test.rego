package lockgate.rules.signals.pii_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.signals.pii

test_a_marked_destination_gets_a_masked_body if {
	found := pii.obligations with input as fixtures.changed({"signals": {"findings": {"pii.iban": {"score": 1, "count": 1}}}, "route": {"destination": "itdesk"}}) with data.lockgate.config as fixtures.config
	found == {{"name": "mask_body", "params": {}}}
}

test_a_marked_tenant_gets_a_masked_body if {
	found := pii.obligations with input as fixtures.changed({"signals": {"findings": {"pii.iban": {"score": 1, "count": 1}}}, "subject": {"tenant": "us"}}) with data.lockgate.config as fixtures.config
	found == {{"name": "mask_body", "params": {}}}
}

test_personal_data_that_could_not_be_looked_for_is_masked if {
	found := pii.obligations with input as fixtures.changed({"signals": {"unknown": ["pii"]}, "route": {"destination": "itdesk"}}) with data.lockgate.config as fixtures.config
	found == {{"name": "mask_body", "params": {}}}
}

test_other_destinations_get_what_was_sent if {
	found := pii.obligations with input as fixtures.changed({"signals": {"findings": {"pii.iban": {"score": 1, "count": 1}}}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_without_personal_data_nothing_is_masked if {
	found := pii.obligations with input as fixtures.changed({"route": {"destination": "itdesk"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}
