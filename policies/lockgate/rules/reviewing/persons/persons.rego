# METADATA
# title: Four eyes
# description: |
#   Who asked for a request, in whose name it was asked, and who acts for any of them, decide nothing about it; and one person is one
#   approval, in whatever name. What a requester may do is add what was asked for, and take the request back.
package lockgate.rules.reviewing.persons

import data.lockgate.lib.violation

deny contains violation.reason("review.own_request", "nobody decides about their own request, nor in the name of who asked") if {
	not own_to_do(input)
	some person in reviewing(input)
	person in requesting(input)
}

deny contains violation.reason("review.not_requester", "only who asked for the request may do this") if {
	input.attempt.kind in {"answer", "cancel"}
	not requester(input)
}

deny contains violation.reason("review.same_person", "the same person has approved it before") if {
	input.attempt.kind == "approve"
	some given in input.approvals
	some person in array.concat([given.key], given.acting)
	person in reviewing(input)
}

deny contains violation.reason("review.nobody", "it is not known who decides, or who asked") if {
	not named(input)
}

own_to_do(seen) if seen.attempt.kind in {"answer", "cancel", "reject"}

requester(seen) if {
	some person in reviewing(seen)
	person in requesting(seen)
}

named(seen) if {
	seen.reviewer.key != ""
	seen.requester.key != ""
}

reviewing(seen) := array.concat([seen.reviewer.key], seen.reviewer.acting)

requesting(seen) := array.concat([seen.requester.key], seen.requester.acting)
