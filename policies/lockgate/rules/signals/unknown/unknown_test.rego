package lockgate.rules.signals.unknown_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.signals.unknown

test_a_request_that_was_inspected_passes if {
	found := unknown.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_what_was_not_inspected_is_refused if {
	found := unknown.deny with input as fixtures.changed({"signals": {"unknown": ["secret"]}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"signals.unknown"}
}

test_missing_signals_are_refused if {
	found := unknown.deny with input as fixtures.changed({"signals": null}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"signals.unknown"}
}

test_a_route_may_take_what_was_not_inspected if {
	found := unknown.deny with input as fixtures.changed({"signals": {"unknown": ["secret"]}, "route": {"name": "bank.upload"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_what_goes_nowhere_need_not_be_inspected if {
	found := unknown.deny with input as object.union(fixtures.abstained, {"signals": {"unknown": ["secret"]}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}
