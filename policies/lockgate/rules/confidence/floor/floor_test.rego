package lockgate.rules.confidence.floor_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.confidence.floor

test_enough_confidence_passes if {
	found := floor.review with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_enough_confidence_is_no_reason_to_refuse if {
	found := floor.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_less_than_the_intents_floor_is_looked_at if {
	found := floor.review with input as fixtures.changed({"classification": {"confidence": 0.79}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.below_floor"}
}

test_an_intent_without_a_floor_has_its_risk_levels if {
	found := floor.review with input as fixtures.changed({"classification": {"intent": "ask", "confidence": 0.55}, "intent": {"name": "ask"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_no_confidence_is_refused if {
	found := floor.deny with input as fixtures.changed({"classification": {"confidence": null}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.missing"}
}

test_no_floor_is_refused if {
	found := floor.deny with input as fixtures.changed({"classification": {"intent": "ask"}, "intent": {"name": "ask", "risk": "high"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.missing"}
}

test_a_skipped_classification_needs_no_confidence if {
	found := floor.deny with input as fixtures.skipped with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_abstaining_goes_nowhere_and_says_so if {
	found := floor.allow with input as fixtures.abstained with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.abstains"}
}

test_a_fallback_route_that_is_named_passes if {
	found := floor.deny with input as fixtures.fallback with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_fallback_route_that_is_not_named_is_refused if {
	found := floor.deny with input as object.union(fixtures.fallback, {"classification": {"status": "unavailable"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.not_classified"}
}

test_a_status_that_is_not_known_is_refused if {
	found := floor.deny with input as fixtures.changed({"classification": {"status": "perhaps"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.unknown_status"}
}

test_an_intent_that_is_not_the_catalogs_is_refused if {
	found := floor.deny with input as fixtures.changed({"intent": {"name": "other"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"confidence.unknown_status"}
}
