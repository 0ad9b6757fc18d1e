package lockgate.rules.risk.review_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.risk.review

test_low_risk_passes if {
	found := review.review with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_high_risk_is_held if {
	found := review.review with input as fixtures.changed({"risk": {"level": "high"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"risk.high"}
}

test_a_trusted_role_is_not_held if {
	found := review.review with input as fixtures.changed({"risk": {"level": "high"}, "subject": {"roles": ["manager"]}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_everybody_may_be_trusted_with_an_intent if {
	found := review.review with input as fixtures.changed({"risk": {"level": "high"}, "classification": {"intent": "alarm"}, "intent": {"name": "alarm"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_trust_is_by_intent_and_ends_where_none_was_found if {
	found := review.review with input as fixtures.changed({"risk": {"level": "high"}, "subject": {"roles": ["manager"]}, "classification": {"status": "skipped"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"risk.high"}
}

test_critical_is_held_for_privileged_roles if {
	found := review.review with input as fixtures.changed({"risk": {"level": "critical"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"risk.critical"}
}

test_critical_is_refused_to_others if {
	found := review.deny with input as fixtures.changed({"risk": {"level": "critical"}, "subject": {"roles": ["employee"]}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"risk.critical"}
}

test_a_level_that_is_not_known_counts_as_critical if {
	found := review.deny with input as fixtures.changed({"risk": {"level": null}, "subject": {"roles": ["employee"]}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"risk.critical"}
}

test_what_goes_nowhere_is_not_held if {
	found := review.review with input as object.union(fixtures.abstained, {"risk": {"level": "high"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_no_settings_trust_nobody if {
	found := review.deny with input as fixtures.changed({"risk": {"level": "critical"}}) with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"risk.critical"}
}
