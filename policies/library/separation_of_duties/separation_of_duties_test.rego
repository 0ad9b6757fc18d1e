package lockgate.library.separation_of_duties_test

import data.lockgate.library.fixtures
import data.lockgate.library.separation_of_duties

nothing := {"exclusive": [], "kept_from": {}, "second_person": {}}

said(document, changes) := {"deny": fixtures.codes(denied), "review": fixtures.codes(held), "duties": duties} if {
	config := {"separation_of_duties": object.union(nothing, changes)}
	denied := separation_of_duties.deny with input as document with data.lockgate.config as config
	held := separation_of_duties.review with input as document with data.lockgate.config as config
	duties := separation_of_duties.obligations with input as document with data.lockgate.config as config
}

passes := {"deny": set(), "review": set(), "duties": set()}

second := {"second_person": {"pay": object.union(fixtures.review, {"reviewers": ["manager", "clerk"]})}}

test_duties_of_others_are_no_matter if {
	said(fixtures.decision, {"exclusive": [["a", "b"]], "kept_from": {"other": ["clerk"]}}) == passes
}

test_roles_that_exclude_each_other if {
	document := fixtures.changed({"subject": {"roles": ["clerk", "releaser"]}})
	said(document, {"exclusive": [["clerk", "releaser"]]}).deny == {"separation.exclusive_roles"}
}

test_one_of_them_is_no_matter if said(fixtures.decision, {"exclusive": [["clerk", "releaser"]]}) == passes

test_roles_that_are_not_known if {
	said(fixtures.changed({"subject": {"roles": null}}), {}).deny == {"separation.exclusive_roles"}
}

test_an_intent_that_is_not_known if {
	said(fixtures.changed({"intent": null}), {}).deny == {"separation.exclusive_roles"}
}

test_where_no_intent_is_needed_there_is_none if said(fixtures.skipped, {}) == passes

test_nor_on_a_route_for_such_requests if {
	said(fixtures.changed({"classification": {"status": "ambiguous", "intent": null}, "intent": null}), {}) == passes
}

test_a_role_that_is_kept_from_it if {
	said(fixtures.decision, {"kept_from": {"pay": ["clerk"]}}).deny == {"separation.kept_from"}
}

test_a_second_person_has_another_role if {
	found := said(fixtures.decision, second)
	found.review == {"separation.second_person"}
	found.duties == {{"name": "require_review", "params": fixtures.review}}
}

test_who_has_all_the_roles_has_no_second_person if {
	document := fixtures.changed({"subject": {"roles": ["manager", "clerk"]}})
	said(document, second).deny == {"separation.no_reviewer"}
}

test_what_goes_nowhere_needs_nobody if said(fixtures.abstained, second) == passes

test_a_second_person_must_be_named if {
	said(fixtures.decision, {"second_person": {"pay": {"reviewers": []}}}).deny == {"separation.unset"}
}

test_without_settings_everything_is_refused if {
	found := separation_of_duties.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"separation.unset"}
}
