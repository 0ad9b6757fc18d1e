package lockgate.lib.concern_test

import data.lockgate.lib.concern
import data.lockgate.library.fixtures

about_decision(setting) if concern.about(fixtures.decision, setting)

about_skipped(setting) if concern.about(fixtures.skipped, setting)

about_abstained(setting) if concern.about(fixtures.abstained, setting)

test_without_limits_it_is_about_everything if concern.about(fixtures.decision, {})

test_by_intent if concern.about(fixtures.decision, {"intents": ["pay"]})

test_by_every_intent if concern.about(fixtures.decision, {"intents": ["*"]})

test_by_risk if concern.about(fixtures.decision, {"risks": ["low"]})

test_another_intent_is_not_meant if not about_decision({"intents": ["other"]})

test_without_an_intent_it_may_be_any if concern.about(fixtures.changed({"intent": null}), {"intents": ["other"]})

test_where_none_is_needed_it_is_none if not about_skipped({"intents": ["other"]})

test_what_goes_nowhere_is_not_meant if not about_abstained({"risks": ["other"]})

test_a_role if concern.holds(fixtures.decision, ["clerk"])

test_reviewers_are_needed if not concern.reviewable({"reviewers": [], "quorum": 1, "expires": "1h"})

test_a_review_can_be_asked_for if concern.reviewable(fixtures.review)

test_the_obligation if concern.held(fixtures.review).params == fixtures.review
