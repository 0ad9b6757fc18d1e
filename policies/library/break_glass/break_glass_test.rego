package lockgate.library.break_glass_test

import data.lockgate.library.break_glass
import data.lockgate.library.fixtures

grant := {
	"subject": "ada",
	"intents": ["pay"],
	"from": "2026-11-28T08:00:00Z",
	"until": "2026-11-28T12:00:00Z",
	"approved_by": ["grace", "linus"],
	"ticket": "INC-4711",
}

ask := object.union(fixtures.review, {"roles": ["on_call"], "intents": ["*"], "quorum": 2})

settings := {
	"header": "x-break-glass",
	"lifts": ["rbac.no_grant", "signals.secret", "break_glass.refused", "working_hours.unset"],
	"longest_hours": 4,
	"ask": ask,
	"grants": [grant],
}

invoking := fixtures.changed({"request": {"headers": {"x-break-glass": "the clearing is stuck"}}})

on_call := object.union(invoking, {"subject": {"id": "eve", "roles": ["on_call"]}})

given(changes) := object.union(settings, {"grants": [object.union(grant, changes)]})

denials(document, config) := fixtures.codes(found) if {
	found := break_glass.deny with input as document with data.lockgate.config as {"break_glass": config}
}

lifted(document, config) := found if {
	found := break_glass.lifted with input as document with data.lockgate.config as {"break_glass": config}
}

reviews(document, config) := fixtures.codes(found) if {
	found := break_glass.review with input as document with data.lockgate.config as {"break_glass": config}
}

duties(document) := {found.name | some found in said} if {
	said := break_glass.obligations with input as document with data.lockgate.config as {"break_glass": settings}
}

test_who_does_not_ask_gets_nothing if {
	denials(fixtures.decision, settings) == set()
	lifted(fixtures.decision, settings) == set()
	duties(fixtures.decision) == set()
}

test_a_grant_lifts_what_is_named_and_may_be_lifted if {
	denials(invoking, settings) == set()
	lifted(invoking, settings) == {"rbac.no_grant"}
}

test_its_use_is_a_reason_with_the_ticket if {
	found := break_glass.grants with input as invoking with data.lockgate.config as {"break_glass": settings}
	found == {{"code": "break_glass.used", "message": "by the exception INC-4711"}}
}

test_its_use_is_recorded if duties(invoking) == {"log"}

test_a_blank_reason_is_none if {
	lifted(fixtures.changed({"request": {"headers": {"x-break-glass": " "}}}), settings) == set()
}

test_another_subject_has_no_grant if {
	document := object.union(invoking, {"subject": {"id": "eve"}})
	denials(document, settings) == {"break_glass.refused"}
	lifted(document, settings) == set()
}

test_another_intent_has_no_grant if denials(invoking, given({"intents": ["cancel"]})) == {"break_glass.refused"}

test_every_intent_can_be_granted if denials(invoking, given({"intents": ["*"]})) == set()

test_it_has_not_begun if denials(invoking, given({"from": "2026-11-28T09:00:01Z"})) == {"break_glass.refused"}

test_it_has_ended if denials(invoking, given({"until": "2026-11-28T09:00:00Z"})) == {"break_glass.refused"}

test_it_is_longer_than_allowed if denials(invoking, given({"until": "2026-11-28T12:00:01Z"})) == {"break_glass.refused"}

test_a_time_in_another_form_is_none if denials(invoking, given({"until": "2026-11-28 12:00"})) == {"break_glass.refused"}

test_one_person_is_too_few if denials(invoking, given({"approved_by": ["grace", "grace"]})) == {"break_glass.refused"}

test_nobody_counts_for_themselves if denials(invoking, given({"approved_by": ["ada", "grace"]})) == {"break_glass.refused"}

test_without_a_grant_two_people_are_asked if {
	reviews(on_call, settings) == {"break_glass.asked"}
	lifted(on_call, settings) == {"rbac.no_grant"}
	duties(on_call) == {"log", "require_review"}
	denials(on_call, settings) == set()
}

test_what_is_asked_for_is_a_grant_until_it_is_held if {
	found := break_glass.grants with input as on_call with data.lockgate.config as {"break_glass": settings}
	fixtures.codes(found) == {"break_glass.asked"}
}

test_one_reviewer_is_too_few if {
	denials(on_call, object.union(settings, {"ask": {"quorum": 1}})) == {"break_glass.refused"}
}

test_a_grant_needs_no_question if {
	reviews(object.union(on_call, {"subject": {"id": "ada"}}), settings) == set()
}

test_what_goes_nowhere_needs_no_exception if {
	document := object.union(fixtures.abstained, {"request": {"headers": {"x-break-glass": "stuck"}}})
	denials(document, settings) == set()
}

test_without_headers_nothing_goes_on if {
	denials(fixtures.changed({"request": {"headers": null}}), settings) == {"break_glass.incomplete"}
}

test_without_settings_everything_is_refused if {
	found := break_glass.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"break_glass.unset"}
}
