package lockgate.library.pii_egress_test

import data.lockgate.library.fixtures
import data.lockgate.library.pii_egress

said(document, rows, otherwise) := {"deny": fixtures.codes(denied), "duties": {duty.name | some duty in duties}} if {
	config := {"pii_egress": {"regions": {"bank": "europe"}, "rules": rows, "otherwise": otherwise}}
	denied := pii_egress.deny with input as document with data.lockgate.config as config
	duties := pii_egress.obligations with input as document with data.lockgate.config as config
}

holding := fixtures.changed({"signals": {"findings": {"pii.iban": {"score": 1, "count": 1}, "text.mixed_script": {"score": 1, "count": 1}}}})

unseen := fixtures.changed({"signals": {"unknown": ["pii"]}})

passes := {"deny": set(), "duties": set()}

masks := {"deny": set(), "duties": {"mask_body"}}

refuses := {"deny": {"pii_egress.not_allowed"}, "duties": set()}

test_without_personal_data_it_passes if said(fixtures.decision, [], "deny") == passes

test_what_no_row_is_about_is_refused if said(holding, [], "deny") == refuses

test_or_masked if said(holding, [], "mask") == masks

test_a_kind_may_go_to_a_destination if {
	said(holding, [{"kinds": ["pii.iban"], "destinations": ["bank"], "then": "allow"}], "deny") == passes
}

test_or_masked_only if said(holding, [{"kinds": ["*"], "destinations": ["bank"], "then": "mask"}], "deny") == masks

test_another_destination_is_not_meant if said(holding, [{"kinds": ["*"], "destinations": ["crm"], "then": "allow"}], "deny") == refuses

test_a_region if said(holding, [{"kinds": ["*"], "regions": ["europe"], "then": "allow"}], "deny") == passes

test_another_region if said(holding, [{"kinds": ["*"], "regions": ["america"], "then": "allow"}], "deny") == refuses

test_a_tenant if said(holding, [{"kinds": ["*"], "tenants": ["eu"], "then": "allow"}], "deny") == passes

test_another_tenant if said(holding, [{"kinds": ["*"], "tenants": ["us"], "then": "allow"}], "deny") == refuses

test_a_refusal_wins_over_masking_the_rest if said(holding, [{"kinds": ["pii.iban"], "then": "deny"}], "mask") == refuses

test_of_two_rows_the_stricter_counts if {
	said(holding, [{"kinds": ["*"], "then": "allow"}, {"kinds": ["*"], "then": "mask"}], "deny") == masks
	said(holding, [{"kinds": ["*"], "then": "mask"}, {"kinds": ["*"], "then": "deny"}], "mask") == refuses
}

test_what_was_not_looked_at_is_every_kind if {
	said(unseen, [{"kinds": ["pii.iban"], "then": "allow"}], "deny") == refuses
	said(unseen, [{"kinds": ["*"], "then": "allow"}], "deny") == passes
}

test_signals_that_are_not_there_are_not_looked_at if said(fixtures.changed({"signals": null}), [], "deny") == refuses

test_what_goes_nowhere_takes_nothing_along if {
	said(object.union(fixtures.abstained, {"signals": {"unknown": ["pii"]}}), [], "deny") == passes
}

test_an_answer_for_the_rest_must_be_set if said(holding, [], "allow").deny == {"pii_egress.unset"}
