package lockgate.library.abac_test

import data.lockgate.library.abac
import data.lockgate.library.fixtures

denials(document, rows, otherwise) := fixtures.codes(found) if {
	found := abac.deny with input as document with data.lockgate.config as {"abac": {"rules": rows, "otherwise": otherwise}}
}

codes(row) := denials(fixtures.decision, [object.union({"intents": ["pay"]}, row)], "deny")

test_a_row_without_demands_is_met if codes({}) == set()

test_a_group if codes({"groups": ["payments", "other"]}) == set()

test_another_group if codes({"groups": ["other"]}) == {"abac.not_met"}

test_a_tenant if codes({"tenants": ["eu"]}) == set()

test_another_tenant if codes({"tenants": ["us"]}) == {"abac.not_met"}

test_a_claim if codes({"claims": {"clearance": [2, 3]}}) == set()

test_another_value_of_a_claim if codes({"claims": {"clearance": [3]}}) == {"abac.not_met"}

test_a_claim_that_is_missing if codes({"claims": {"desk": [1]}}) == {"abac.not_met"}

test_a_claim_that_is_a_list if {
	document := fixtures.changed({"subject": {"claims": {"desks": ["a", "b"]}}})
	denials(document, [{"claims": {"desks": ["b"]}}], "deny") == set()
}

test_all_claims_are_needed if codes({"claims": {"clearance": [2], "desk": [1]}}) == {"abac.not_met"}

test_a_part_of_the_path if codes({"path": {"part": 0, "claim": "branch"}}) == set()

test_somebody_elses_path if codes({"path": {"part": 1, "claim": "branch"}}) == {"abac.not_met"}

test_a_part_that_is_not_there if codes({"path": {"part": 7, "claim": "nothing"}}) == {"abac.not_met"}

test_a_demand_that_nobody_knows_is_met_by_nobody if codes({"group": ["payments"]}) == {"abac.not_met"}

test_one_row_is_enough if {
	denials(fixtures.decision, [{"groups": ["other"]}, {"groups": ["payments"]}], "deny") == set()
}

test_what_no_row_is_about_is_refused if denials(fixtures.decision, [{"intents": ["other"]}], "deny") == {"abac.no_rule"}

test_or_left_to_others if denials(fixtures.decision, [{"intents": ["other"]}], "pass") == set()

test_what_goes_nowhere_needs_nothing if denials(fixtures.abstained, [], "deny") == set()

test_an_answer_for_the_rest_must_be_set if denials(fixtures.decision, [], "allow") == {"abac.unset"}
