package lockgate.rules.signals.injection_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.signals.injection

test_nothing_found_passes if {
	found := injection.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_nothing_found_is_not_looked_at if {
	found := injection.review with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_weak_sign_passes if {
	found := injection.review with input as fixtures.changed({"signals": {"findings": {"injection": {"score": 0.39, "count": 1}}}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_likely_attempt_is_looked_at if {
	found := injection.review with input as fixtures.changed({"signals": {"findings": {"injection": {"score": 0.4, "count": 1}}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"signals.injection"}
}

test_a_likely_attempt_is_not_refused if {
	found := injection.deny with input as fixtures.changed({"signals": {"findings": {"injection": {"score": 0.79, "count": 1}}}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_plain_attempt_is_refused if {
	found := injection.deny with input as fixtures.changed({"signals": {"findings": {"injection": {"score": 0.8, "count": 1}}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"signals.injection"}
}

test_a_score_that_is_missing_is_refused if {
	found := injection.deny with input as fixtures.changed({"signals": {"findings": {"injection": {"score": null, "count": 1}}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"signals.injection"}
}

test_no_limits_refuse_everything_found if {
	found := injection.deny with input as fixtures.changed({"signals": {"findings": {"injection": {"score": 0.1, "count": 1}}}}) with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"signals.injection"}
}
