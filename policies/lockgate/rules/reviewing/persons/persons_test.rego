package lockgate.rules.reviewing.persons_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.reviewing.persons

codes(found) := {each.code | some each in found}

test_somebody_else_may_decide if {
	found := persons.deny with input as fixtures.attempt
	count(found) == 0
}

test_nobody_decides_about_their_own if {
	some kind in ["claim", "approve", "modify", "reroute", "ask", "escalate"]
	found := persons.deny with input as fixtures.attempted({"attempt": {"kind": kind}, "reviewer": {"key": "k-ada"}})
	codes(found) == {"review.own_request"}
}

test_nor_in_the_name_of_who_asked if {
	found := persons.deny with input as fixtures.attempted({"reviewer": {"acting": ["k-ada"]}})
	codes(found) == {"review.own_request"}
}

test_nor_does_who_asked_in_their_name if {
	found := persons.deny with input as fixtures.attempted({"requester": {"acting": ["k-rita"]}})
	codes(found) == {"review.own_request"}
}

test_who_asked_may_take_it_back_or_answer if {
	cancelling := persons.deny with input as fixtures.attempted({"attempt": {"kind": "cancel"}, "reviewer": {"key": "k-ada"}})
	answering := persons.deny with input as fixtures.attempted({"attempt": {"kind": "answer"}, "reviewer": {"key": "k-ada"}})
	rejecting := persons.deny with input as fixtures.attempted({"attempt": {"kind": "reject"}, "reviewer": {"key": "k-ada"}})
	count(cancelling | answering | rejecting) == 0
}

test_nobody_else_answers_or_takes_it_back if {
	found := persons.deny with input as fixtures.attempted({"attempt": {"kind": "cancel"}})
	codes(found) == {"review.not_requester"}
}

test_one_person_is_one_approval if {
	given := [{"key": "k-rita", "roles": [], "acting": []}]
	found := persons.deny with input as fixtures.attempted({"approvals": given})
	codes(found) == {"review.same_person"}
}

test_one_person_is_one_approval_in_any_name if {
	given := [{"key": "k-ruben", "roles": [], "acting": ["k-rita"]}]
	found := persons.deny with input as fixtures.attempted({"approvals": given})
	codes(found) == {"review.same_person"}
}

test_nobody_is_nobody if {
	found := persons.deny with input as fixtures.attempted({"reviewer": {"key": ""}})
	codes(found) == {"review.nobody"}
}

test_an_empty_document_is_refused if {
	found := persons.deny with input as {}
	codes(found) == {"review.nobody"}
}
