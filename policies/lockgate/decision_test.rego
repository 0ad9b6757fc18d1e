package lockgate.decision_test

import data.lockgate.decision
import data.lockgate.lib.fixtures

test_a_granted_request_is_allowed if {
	found := decision.result with input as fixtures.decision with data.lockgate.config as fixtures.config
	found == {"effect": "allow", "reasons": [{"code": "rbac.granted", "message": "granted to the role clerk"}], "obligations": []}
}

test_a_denial_wins_over_a_review if {
	document := fixtures.changed({"risk": {"level": "high"}, "subject": {"roles": ["visitor"]}})
	found := decision.result with input as document with data.lockgate.config as fixtures.config
	found.effect == "deny"
	found.reasons[0].code == "rbac.no_grant"
}

test_a_held_request_names_its_reviewers if {
	document := fixtures.changed({"risk": {"level": "critical"}})
	found := decision.result with input as document with data.lockgate.config as fixtures.config
	found.effect == "review"
	found.obligations == [{"name": "require_review", "params": {"reviewers": ["treasurer"], "quorum": 2, "expires": "8h"}}]
}

test_a_held_request_keeps_its_other_duties if {
	document := fixtures.changed({
		"risk": {"level": "high"},
		"signals": {"findings": {"pii.iban": {"score": 1, "count": 1}}},
		"route": {"destination": "itdesk"},
	})
	found := decision.result with input as document with data.lockgate.config as fixtures.config
	[duty.name | some duty in found.obligations] == ["require_review", "mask_body"]
	found.obligations[0].params.reviewers == ["manager"]
}

test_a_review_of_uncertainty_has_the_ordinary_numbers if {
	document := fixtures.changed({"classification": {"confidence": 0.7}})
	found := decision.result with input as document with data.lockgate.config as fixtures.config
	found.effect == "review"
	found.obligations[0].params.expires == "4h"
}

test_abstaining_is_allowed_because_it_goes_nowhere if {
	found := decision.result with input as fixtures.abstained with data.lockgate.config as fixtures.config
	found.effect == "allow"
	found.reasons[0].code == "confidence.abstains"
}

test_an_empty_document_is_refused if {
	found := decision.result with input as {} with data.lockgate.config as fixtures.config
	found.effect == "deny"
}

test_without_settings_nothing_is_allowed if {
	found := decision.result with input as fixtures.decision with data.lockgate.config as {}
	found.effect == "deny"
}
