# METADATA
# title: What may be done on the word of a model
# description: |
#   For each risk level: which tiers of the classification may decide alone, how many intents may have been plausible, and how unfamiliar or
#   order-like the text may be. What is beyond is held for a person, or refused.
# custom:
#   settings: ai_answer_limits
#   why: A language model that is sure is not the same as a rule that matched, and nothing of high risk should hang on it alone.
#   override: Another list of `tiers`, another limit, or `otherwise` of the level; a limit that is left out is none, `tiers` must be there.
package lockgate.library.ai_answer_limits

import data.lockgate.lib.concern
import data.lockgate.lib.outcome
import data.lockgate.lib.violation

# METADATA
# title: ai.unset
# description: The package is adopted, and there are no limits, or none for the risk level of the request.
# custom:
#   why: A level that nobody thought of is not one without limits.
#   example: "`levels` has no `critical`: what is critical is refused."
#   override: An entry for the level.
deny contains violation.reason("ai.unset", "no limits are set for what a model may decide") if {
	not outcome.abstained(input)
	not configured
}

# METADATA
# title: ai.tier
# description: The tier that found the intent may not decide at this risk level.
# custom:
#   effect: review or deny, as `otherwise` of the level says
#   why: The tiers are calibrated to one scale, and still fail in different ways; a language model can be talked to.
#   example: "`high: {tiers: [rule, encoder], otherwise: review}` holds what the tier `llm` found."
#   override: The tier in the list of the level.
exceeded contains violation.reason("ai.tier", "at this risk it is not enough that a model of this kind says so") if {
	is_array(limits.tiers)
	not accepted(input)
}

# METADATA
# title: ai.several
# description: More intents were plausible than may be.
# custom:
#   effect: review or deny, as `otherwise` of the level says
#   why: The prediction set has the right intent among its own; with two of them it may be the other.
#   example: "`medium: {most_plausible: 1}` holds what may have been two things."
#   override: A larger `most_plausible`.
exceeded contains violation.reason("ai.several", "more than one thing may have been meant") if {
	is_number(limits.most_plausible)
	not few(input)
}

# METADATA
# title: ai.novel
# description: The text is less familiar than may be, or it is not known how familiar it is.
# custom:
#   effect: review or deny, as `otherwise` of the level says
#   why: Far from every example a confidence is a guess.
#   example: "`high: {novelty: 0.5}` holds a text of novelty 0.7."
#   override: A higher `novelty`; what a rule matched is never too novel.
exceeded contains violation.reason("ai.novel", "the text is unlike what the classification knows") if {
	is_number(limits.novelty)
	not ruled(input)
	not familiar(input)
}

# METADATA
# title: ai.injection
# description: The text may give orders to a model, or it is not known whether it does.
# custom:
#   effect: review or deny, as `otherwise` of the level says
#   why: A text that talks to the model may have talked it into its answer.
#   example: "`high: {injection: 0.2}` holds a text for which the head says 0.3."
#   override: A higher `injection`; what a rule matched is not judged by it.
exceeded contains violation.reason("ai.injection", "the text may give orders to the model that found the intent") if {
	is_number(limits.injection)
	not ruled(input)
	not harmless(input)
}

deny contains reason if {
	judged
	not limits.otherwise == "review"
	some reason in exceeded
}

review contains reason if {
	judged
	limits.otherwise == "review"
	some reason in exceeded
}

obligations contains concern.held(data.lockgate.config.ai_answer_limits.review) if count(review) > 0

# Where no intent was looked for, or none found, there is no word of a model to go by.
judged if {
	configured
	not outcome.abstained(input)
	not outcome.skipped(input)
	not outcome.fallback(input)
}

limits := data.lockgate.config.ai_answer_limits.levels[input.risk.level]

configured if {
	is_array(limits.tiers)
	concern.reviewable(data.lockgate.config.ai_answer_limits.review)
}

accepted(seen) if seen.classification.tier in data.lockgate.config.ai_answer_limits.levels[seen.risk.level].tiers

ruled(seen) if seen.classification.tier == "rule"

few(seen) if {
	is_array(seen.classification.prediction_set)
	count(seen.classification.prediction_set) <= data.lockgate.config.ai_answer_limits.levels[seen.risk.level].most_plausible
}

familiar(seen) if {
	is_number(seen.classification.novelty)
	seen.classification.novelty <= data.lockgate.config.ai_answer_limits.levels[seen.risk.level].novelty
}

harmless(seen) if {
	is_number(seen.classification.injection)
	seen.classification.injection <= data.lockgate.config.ai_answer_limits.levels[seen.risk.level].injection
}
