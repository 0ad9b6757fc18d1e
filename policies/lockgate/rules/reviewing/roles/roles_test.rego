package lockgate.rules.reviewing.roles_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.reviewing.roles

test_one_of_the_roles_is_enough if {
	found := roles.deny with input as fixtures.attempted({"review": {"reviewers": ["treasurer", "manager"]}})
	count(found) == 0
}

test_another_role_is_refused if {
	found := roles.deny with input as fixtures.attempted({"reviewer": {"roles": ["clerk"]}})
	{each.code | some each in found} == {"review.role_missing"}
}

test_where_no_role_is_named_anybody_may if {
	found := roles.deny with input as fixtures.attempted({"reviewer": {"roles": []}, "review": {"reviewers": []}})
	count(found) == 0
}

test_who_asked_needs_no_role_to_take_it_back if {
	found := roles.deny with input as fixtures.attempted({"attempt": {"kind": "reject"}, "reviewer": {"key": "k-ada", "roles": []}})
	count(found) == 0
}

test_others_need_one_to_reject if {
	found := roles.deny with input as fixtures.attempted({"attempt": {"kind": "reject"}, "reviewer": {"roles": []}})
	{each.code | some each in found} == {"review.role_missing"}
}

test_an_answer_needs_no_role if {
	found := roles.deny with input as fixtures.attempted({"attempt": {"kind": "answer"}, "reviewer": {"key": "k-ada", "roles": []}})
	count(found) == 0
}

test_an_empty_document_is_refused if {
	found := roles.deny with input as {}
	{each.code | some each in found} == {"review.role_missing"}
}
