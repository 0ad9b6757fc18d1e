# METADATA
# title: Confidence floors
# description: |
#   An intent that was found with less confidence than its floor is looked at by a person. A missing confidence or floor never passes, and
#   neither does a way of not finding an intent that nobody thought of.
package lockgate.rules.confidence.floor

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

deny contains violation.reason("confidence.missing", "there is no confidence, or nothing to measure it by") if {
	outcome.classified(input)
	not measured
}

deny contains violation.reason("confidence.not_classified", "the intent was not found, and this route is not for such requests") if {
	outcome.fallback(input)
	not permitted(input)
}

deny contains violation.reason("confidence.unknown_status", "the classification ended in no way that policy knows") if {
	not outcome.classified(input)
	not outcome.skipped(input)
	not outcome.abstained(input)
	not outcome.fallback(input)
}

review contains violation.reason("confidence.below_floor", "the intent is too uncertain to go on unattended") if {
	outcome.classified(input)
	input.classification.confidence < least
}

allow contains violation.reason("confidence.abstains", "the intent was not found; the request goes nowhere") if outcome.abstained(input)

least := object.get(floors.intents, input.intent.name, object.get(floors.risks, input.intent.risk, null)) if {
	floors := data.lockgate.config.confidence
}

measured if {
	is_number(input.classification.confidence)
	is_number(least)
}

permitted(seen) if seen.route.name in data.lockgate.config.confidence.abstained[seen.classification.status]
