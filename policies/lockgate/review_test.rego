package lockgate.review_test

import data.lockgate.lib.fixtures
import data.lockgate.review

test_who_may_may if {
	found := review.result with input as fixtures.attempt
	found.effect == "allow"
	found.reasons[0].code == "review.may"
}

test_a_refusal_has_its_reason if {
	found := review.result with input as fixtures.attempted({"reviewer": {"key": "k-ada"}})
	found.effect == "deny"
	found.reasons[0].code == "review.own_request"
}

test_what_nobody_has_thought_of_has_no_answer if {
	not answered(fixtures.attempted({"attempt": {"kind": "delete"}}))
}

test_an_empty_document_is_refused if {
	found := review.result with input as {}
	found.effect == "deny"
}

answered(document) if {
	found := review.result with input as document
	is_object(found)
}
