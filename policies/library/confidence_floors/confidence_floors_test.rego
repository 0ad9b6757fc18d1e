package lockgate.library.confidence_floors_test

import data.lockgate.library.confidence_floors
import data.lockgate.library.fixtures

config := {
	"confidence": {"intents": {}, "risks": {"low": 0.96}, "abstained": {}},
	"review": {"levels": {"other": {"quorum": 1, "expires": "4h"}}, "reviewers": {"otherwise": ["manager"], "destinations": {}}},
}

test_below_its_floor_it_is_held if {
	found := confidence_floors.review with input as fixtures.decision with data.lockgate.config as config
	fixtures.codes(found) == {"confidence.below_floor"}
}

test_by_those_who_review if {
	found := confidence_floors.obligations with input as fixtures.decision with data.lockgate.config as config
	found == {{"name": "require_review", "params": fixtures.review}}
}

test_above_it_goes_on if {
	document := fixtures.changed({"classification": {"confidence": 0.97}})
	found := confidence_floors.review with input as document with data.lockgate.config as config
	found == set()
}

test_without_settings_it_is_refused if {
	found := confidence_floors.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"confidence.missing"}
}
