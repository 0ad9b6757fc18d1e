# METADATA
# title: Roles of reviewers
# description: Where the held request names roles, or has been escalated, a reviewer has one of them.
package lockgate.rules.reviewing.roles

import data.lockgate.lib.violation

deny contains violation.reason("review.role_missing", "policy wants a reviewer with another role") if {
	not requesters(input)
	not entitled(input)
}

# What a requester does with their own request needs no role; `persons` says what that is.
requesters(seen) if seen.attempt.kind in {"answer", "cancel"}

requesters(seen) if {
	seen.attempt.kind == "reject"
	some person in array.concat([seen.reviewer.key], seen.reviewer.acting)
	person in array.concat([seen.requester.key], seen.requester.acting)
}

entitled(seen) if count(seen.review.reviewers) == 0

entitled(seen) if {
	some role in seen.reviewer.roles
	role in seen.review.reviewers
}
