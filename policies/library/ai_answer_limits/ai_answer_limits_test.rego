package lockgate.library.ai_answer_limits_test

import data.lockgate.library.ai_answer_limits
import data.lockgate.library.fixtures

settings := {
	"levels": {
		"low": {"tiers": ["rule", "encoder"], "most_plausible": 1, "novelty": 0.5, "injection": 0.2, "otherwise": "review"},
		"high": {"tiers": ["rule"], "otherwise": "deny"},
	},
	"review": fixtures.review,
}

said(document) := {"deny": fixtures.codes(denied), "review": fixtures.codes(held)} if {
	denied := ai_answer_limits.deny with input as document with data.lockgate.config as {"ai_answer_limits": settings}
	held := ai_answer_limits.review with input as document with data.lockgate.config as {"ai_answer_limits": settings}
}

by(classification) := said(fixtures.changed({"classification": classification}))

passes := {"deny": set(), "review": set()}

holds(code) := {"deny": set(), "review": {code}}

test_within_the_limits_it_passes if said(fixtures.decision) == passes

test_a_tier_that_may_not_decide if by({"tier": "llm"}) == holds("ai.tier")

test_a_tier_that_is_not_known if by({"tier": null}) == holds("ai.tier")

test_several_intents if by({"prediction_set": ["pay", "ask"]}) == holds("ai.several")

test_intents_that_are_not_known if by({"prediction_set": null}) == holds("ai.several")

test_an_unfamiliar_text if by({"novelty": 0.6}) == holds("ai.novel")

test_a_text_of_which_that_is_not_known if by({"novelty": null}) == holds("ai.novel")

test_a_text_that_gives_orders if by({"injection": 0.3}) == holds("ai.injection")

test_what_a_rule_matched_is_not_judged_by_its_text if by({"tier": "rule", "novelty": null, "injection": null}) == passes

test_another_level_may_refuse if {
	said(fixtures.changed({"risk": {"level": "high"}})) == {"deny": {"ai.tier"}, "review": set()}
}

test_a_level_without_limits_is_refused if said(fixtures.changed({"risk": {"level": "critical"}})).deny == {"ai.unset"}

test_a_held_request_names_its_reviewers if {
	document := fixtures.changed({"classification": {"tier": "llm"}})
	found := ai_answer_limits.obligations with input as document with data.lockgate.config as {"ai_answer_limits": settings}
	found == {{"name": "require_review", "params": fixtures.review}}
}

test_without_an_intent_there_is_no_word_of_a_model if {
	said(fixtures.skipped) == passes
	said(fixtures.abstained) == passes
	by({"status": "ambiguous", "intent": null, "tier": "llm"}) == passes
}

test_without_settings_everything_is_refused if {
	found := ai_answer_limits.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"ai.unset"}
}
