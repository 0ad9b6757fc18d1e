package lockgate.rules.signals.secrets_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.signals.secrets

test_nothing_found_passes if {
	found := secrets.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_credential_is_refused if {
	found := secrets.deny with input as fixtures.changed({"signals": {"findings": {"secret.aws_key": {"score": 1, "count": 1}}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"signals.secret"}
}

test_a_tolerated_kind_passes if {
	found := secrets.deny with input as fixtures.changed({"signals": {"findings": {"secret.jwt": {"score": 1, "count": 1}}}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_no_settings_tolerate_nothing if {
	found := secrets.deny with input as fixtures.changed({"signals": {"findings": {"secret.jwt": {"score": 1, "count": 1}}}}) with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"signals.secret"}
}
