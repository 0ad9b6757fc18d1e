# METADATA
# title: Decision
# description: |
#   After a request is understood. Any denial denies; otherwise any demand for a review holds; otherwise an explicit grant is needed.
#   Without one there is no result, which is a deny. The order of the rules is the order in which people read the reasons.
package lockgate.decision

import data.lockgate.lib.reviewing
import data.lockgate.rules.access.rbac
import data.lockgate.rules.confidence.floor
import data.lockgate.rules.risk.review
import data.lockgate.rules.signals.injection
import data.lockgate.rules.signals.pii
import data.lockgate.rules.signals.secrets
import data.lockgate.rules.signals.unknown

# METADATA
# entrypoint: true
result := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "review", "reasons": doubts, "obligations": array.concat([held], duties)} if {
	count(doubts) > 0
} else := {"effect": "allow", "reasons": grants, "obligations": duties} if {
	count(grants) > 0
}

denials := [violation |
	some found in [secrets.deny, injection.deny, unknown.deny, rbac.deny, floor.deny, review.deny]
	some violation in found
]

doubts := [violation |
	some found in [injection.review, floor.review, review.review]
	some violation in found
]

grants := [reason |
	some found in [rbac.allow, floor.allow]
	some reason in found
]

duties := [duty | some duty in pii.obligations]

held := reviewing.obligation(input.risk.level, object.get(input, ["route", "destination"], ""))
