package lockgate.library.rbac_test

import data.lockgate.library.fixtures
import data.lockgate.library.rbac

config := {"access": {"intents": {"pay": {"clerk": ["eu"]}}, "risks": {}, "routes": {}}}

test_a_granted_role_passes if {
	found := rbac.deny with input as fixtures.decision with data.lockgate.config as config
	found == set()
}

test_another_role_does_not if {
	document := fixtures.changed({"subject": {"roles": ["visitor"]}})
	found := rbac.deny with input as document with data.lockgate.config as config
	fixtures.codes(found) == {"rbac.no_grant"}
}

test_without_settings_everything_is_refused if {
	found := rbac.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"rbac.no_grant"}
}
