package lockgate.library.working_hours_test

import data.lockgate.library.fixtures
import data.lockgate.library.working_hours

hours := {
	"zone": "Europe/Stockholm",
	"days": ["Monday", "Saturday", "Sunday"],
	"spans": [{"from": "09:00", "to": "12:00"}, {"from": "13:00", "to": "24:00"}],
	"holidays": ["2026-12-26"],
	"exempt": ["on_call"],
	"otherwise": "deny",
}

held := object.union(hours, {"days": ["Monday"], "otherwise": "review", "review": fixtures.review})

codes(document, settings) := fixtures.codes(found) if {
	found := working_hours.deny with input as document with data.lockgate.config as {"working_hours": settings}
}

at(ns) := fixtures.changed({"request": {"time": {"ns": ns}}})

test_within_the_hours_it_passes if codes(fixtures.decision, hours) == set()

test_at_the_first_minute_it_passes if codes(at(1795852800000000000), hours) == set()

test_a_moment_before_it_is_closed if codes(at(1795852799999999999), hours) == {"working_hours.closed"}

test_between_two_spans_it_is_closed if codes(at(1795863600000000000), hours) == {"working_hours.closed"}

test_the_last_minute_of_the_day_is_open if codes(at(1795906799000000000), hours) == set()

test_a_day_without_work_is_closed if codes(fixtures.decision, object.union(hours, {"days": ["Monday"]})) == {"working_hours.closed"}

test_a_holiday_is_closed if codes(at(1798275600000000000), hours) == {"working_hours.closed"}

# 29 March 2026, when the clock goes from 02:00 to 03:00: 08:00 in UTC is 10:00 there, and 09:00 a day before.
test_summer_time_moves_the_hours if {
	ten := object.union(hours, {"spans": [{"from": "10:00", "to": "11:00"}]})
	codes(at(1774771200000000000), ten) == set()
	codes(at(1774684800000000000), ten) == {"working_hours.closed"}
}

test_an_exempt_role_works_at_any_time if {
	document := object.union(at(1795863600000000000), {"subject": {"roles": ["on_call"]}})
	codes(document, hours) == set()
}

test_other_intents_are_not_meant if {
	codes(at(1795863600000000000), object.union(hours, {"intents": ["cancel"]})) == set()
}

test_without_a_time_it_is_closed if {
	codes(fixtures.changed({"request": {"time": null}}), hours) == {"working_hours.closed"}
}

test_without_settings_everything_is_refused if {
	found := working_hours.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"working_hours.unset"}
}

test_hours_that_end_before_they_begin_are_never if {
	codes(fixtures.decision, object.union(hours, {"spans": [{"from": "12:00", "to": "09:00"}]})) == {"working_hours.closed"}
}

test_no_hours_are_none if codes(fixtures.decision, object.union(hours, {"spans": []})) == {"working_hours.unset"}

test_instead_it_may_be_held if {
	found := working_hours.review with input as fixtures.decision with data.lockgate.config as {"working_hours": held}
	fixtures.codes(found) == {"working_hours.closed"}
}

test_a_held_request_names_its_reviewers if {
	found := working_hours.obligations with input as fixtures.decision with data.lockgate.config as {"working_hours": held}
	found == {{"name": "require_review", "params": fixtures.review}}
}

test_a_review_by_nobody_is_no_setting if {
	codes(fixtures.decision, object.union(held, {"review": {"reviewers": []}})) == {"working_hours.unset"}
}
