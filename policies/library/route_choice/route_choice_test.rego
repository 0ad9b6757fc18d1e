package lockgate.library.route_choice_test

import data.lockgate.library.fixtures
import data.lockgate.library.route_choice

config := {"route_choice": {
	"failing": 0.05,
	"unsure": {"below": 0.8, "routes": {"bank.ask": "bank.senior"}},
	"cheaper": {"from": 0.95},
}}

well := {"failed": 0, "latency_p95_ms": 40}

offer(cost, usable, recent) := {
	"destination": "bank",
	"cost": cost,
	"sla": {"latency_ms": 500, "availability": null},
	"usable": usable,
	"recent": recent,
}

asked(confidence, changed) := fixtures.changed({
	"classification": {"confidence": confidence},
	"routes": object.union(
		{
			"bank.ask": offer(3, true, well),
			"bank.cheap": offer(1, true, well),
			"bank.senior": offer(9, true, well),
		},
		changed,
	),
})

chosen(document) := {[found.route, found.reason.code] |
	some found in route_choice.reroute with input as document with data.lockgate.config as config
}

test_what_is_sure_goes_where_it_costs_less if chosen(asked(0.97, {})) == {["bank.cheap", "route_choice.cheaper"]}

test_what_is_neither_stays if chosen(asked(0.9, {})) == set()

test_what_is_not_sure_goes_to_who_has_more_experience if chosen(asked(0.7, {})) == {["bank.senior", "route_choice.unsure"]}

test_nothing_goes_on_failing if {
	chosen(asked(0.9, {"bank.ask": {"usable": false}})) == {["bank.cheap", "route_choice.failing"]}
	chosen(asked(0.9, {"bank.ask": {"recent": {"failed": 0.06}}})) == {["bank.cheap", "route_choice.failing"]}
}

test_nothing_goes_to_what_fails_or_is_too_slow if {
	chosen(asked(0.97, {"bank.cheap": {"usable": false}})) == set()
	chosen(asked(0.97, {"bank.cheap": {"recent": {"failed": 0.5}}})) == set()
	chosen(asked(0.97, {"bank.cheap": {"recent": {"latency_p95_ms": 501}}})) == set()
	chosen(asked(0.7, {"bank.senior": {"usable": false}})) == set()
}

test_what_nobody_knows_of_may_be_chosen if {
	chosen(asked(0.97, {"bank.cheap": {"usable": null, "recent": null}})) == {["bank.cheap", "route_choice.cheaper"]}
}

test_where_all_fail_it_stays if {
	down := {"usable": false}
	chosen(asked(0.9, {"bank.ask": down, "bank.cheap": down, "bank.senior": down})) == set()
}

test_of_those_without_a_cost_none_is_cheaper if {
	chosen(asked(0.97, {"bank.ask": {"cost": null}, "bank.cheap": {"cost": null}})) == set()
}

test_without_alternatives_there_is_no_choice if chosen(object.remove(fixtures.decision, ["routes"])) == set()

test_without_settings_it_is_refused if {
	found := route_choice.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"route_choice.unset"}
}
