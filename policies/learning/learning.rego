# METADATA
# title: Learning
# description: |
#   Who may approve what was learnt, and whether as many have approved as it takes. Asked when somebody approves a proposal, and once more
#   before it is rolled out. A workspace's own rules (`own.rego`) refuse more and ask for more; nothing here can be lifted.
package lockgate.learning

import data.lockgate.learning.own

# METADATA
# entrypoint: true
result := object.union(asked, {"effect": "deny", "reasons": denials}) if {
	count(denials) > 0
} else := object.union(asked, {"effect": "allow", "reasons": [{"code": "proposal_may", "message": "nothing speaks against it"}]}) if {
	known
}

asked := {"approvals": approvals, "each_of": sort(each_of), "complete": complete}

# An attempt that came with a later release is nobody's until somebody has thought of it here.
known if input.attempt.kind in {"approve", "roll_out"}

denials := [denial |
	some found in [persons, roles, missing, own.deny]
	some denial in found
]

reason(code, message) := {"code": code, "message": message}

# --- four eyes

persons contains reason("proposal_own", "nobody approves their own proposal, nor in the name of who made it") if {
	some person in approving
	person in array.concat([input.author.key], input.author.acting)
	input.attempt.kind == "approve"
}

persons contains reason("proposal_approved_before", "the same person has approved it before; another one must") if {
	input.attempt.kind == "approve"
	some earlier in input.approvals
	some person in array.concat([earlier.key], earlier.acting)
	person in approving
}

persons contains reason("proposal_nobody", "it is not known who approves it, or who made it") if {
	input.attempt.kind == "approve"
	not named
}

# Whoever comes by break-glass is nobody in particular, and may be who made it.
persons contains reason("proposal_break_glass", "by break-glass nothing is approved, nor what was proposed by it") if {
	input.attempt.kind == "approve"
	"break_glass" in {input.approver.authenticated_by, input.author.authenticated_by}
}

approving := array.concat([input.approver.key], input.approver.acting)

named if {
	input.approver.key != ""
	input.author.key != ""
}

# --- roles

roles contains reason("proposal_role_missing", sprintf("who approves must have one of the roles %s", [concat(", ", sort(wanted))])) if {
	input.attempt.kind == "approve"
	some wanted in [approvers, narrower]
	count(wanted) > 0
	count(wanted & {role | some role in input.approver.roles}) == 0
}

approvers := {role | some role in data.lockgate.config.learning.approvers}

narrower := {role | some role in object.get(own_terms, "roles", [])} | each_of

own_terms := object.get(data.lockgate.config.learning.approval, input.proposal.type, {})

# --- how many, and each role by another person

approvals := max({1, count(each_of), object.get(own_terms, "approvals", 1)} | own.approvals)

each_of := {role | some role in object.get(own_terms, "each_of", [])} | own.each_of

missing contains reason("proposal_approvals_missing", sentence) if {
	input.attempt.kind == "roll_out"
	not complete
	sentence := sprintf("it takes %d approvals%s, and has %d", [approvals, by_roles, count(given)])
}

default by_roles := ""

by_roles := sprintf(" with the roles %s, each by another person", [concat(", ", sort(each_of))]) if count(each_of) > 0

default complete := false

complete if {
	count(each_of) <= most_roles
	count(given) >= approvals
	every some_roles in subsets {
		count([1 | some one in given; count(some_roles & {role | some role in one.roles}) > 0]) >= count(some_roles)
	}
}

# With the one that is being given.
given := array.concat(input.approvals, [input.approver]) if input.attempt.kind == "approve"

given := input.approvals if input.attempt.kind != "approve"

# Each role has another person where for any of the roles there are as many people who have one of them (Hall's theorem). More roles than
# these would take too long to go through, and are nobody's to fulfil.
places := [1, 2, 4, 8, 16, 32, 64, 128]

most_roles := count(places)

subsets := {some_roles |
	count(each_of) > 0
	count(each_of) <= most_roles
	listed := sort(each_of)
	some number in numbers.range(1, (places[count(listed) - 1] * 2) - 1)
	some_roles := {role | some place, role in listed; bits.and(number, places[place]) != 0}
	count(some_roles) > 0
}
