# METADATA
# title: Decision
# description: |
#   After a request is understood. Any denial denies; otherwise any demand for a review holds; otherwise an explicit grant is needed.
#   Without one there is no result, which is a deny. The order of the rules is the order in which people read the reasons.
package lockgate.decision

import data.lockgate.lib.reviewing

# METADATA
# entrypoint: true
result := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "review", "reasons": doubts, "obligations": array.concat([held], signalled.duties)} if {
	count(doubts) > 0
} else := {"effect": "allow", "reasons": grants, "obligations": signalled.duties} if {
	count(grants) > 0
}

# Rules stand here by their full paths, which cost the embedded engine half of what an import costs.
denials := [violation |
	some found in array.concat(signalled.denials, [
		data.lockgate.rules.access.rbac.deny,
		data.lockgate.rules.confidence.floor.deny,
		data.lockgate.rules.risk.review.deny,
	])
	some violation in found
	not lifted(violation)
]

doubts := [violation |
	some found in array.concat(signalled.doubts, [
		data.lockgate.rules.confidence.floor.review,
		data.lockgate.rules.risk.review.review,
	])
	some violation in found
	not lifted(violation)
]

grants := [reason |
	some found in [
		data.lockgate.rules.access.rbac.allow,
		data.lockgate.rules.confidence.floor.allow,
		data.lockgate.exceptions.grants,
	]
	some reason in found
]

# What an adopted package lifts, such as `break_glass`; nothing where none is adopted.
lifted(violation) if violation.code in data.lockgate.exceptions.lifted

# METADATA
# description: |
#   What the signals' rules say. Where there is no finding and everything was looked at, none of them is asked: a rule about anything else,
#   such as `input.classification.injection`, belongs elsewhere.
signalled := {"denials": [], "doubts": [], "duties": []} if {
	input.signals.findings == {}
	input.signals.unknown == []
} else := {
	"denials": [
		data.lockgate.rules.signals.secrets.deny,
		data.lockgate.rules.signals.injection.deny,
		data.lockgate.rules.signals.unknown.deny,
	],
	"doubts": [data.lockgate.rules.signals.injection.review],
	"duties": [duty | some duty in data.lockgate.rules.signals.pii.obligations],
}

held := reviewing.obligation(input.risk.level, object.get(input, ["route", "destination"], ""))
