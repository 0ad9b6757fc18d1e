# METADATA
# title: Reviews
# description: |
#   Who may do what with a held request. Asked at each attempt of a person; besides, Lockgate's own rules hold whatever is said here:
#   nobody decides about what they asked for, nor twice, nor with another role than the held request names.
package lockgate.review

import data.lockgate.lib.violation

# METADATA
# entrypoint: true
result := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "allow", "reasons": [violation.reason("review.may", "nothing speaks against it")]} if {
	known
}

denials := [denial |
	some found in [
		data.lockgate.rules.reviewing.persons.deny,
		data.lockgate.rules.reviewing.roles.deny,
		data.lockgate.rules.reviewing.tenant.deny,
	]
	some denial in found
]

# An attempt that came with a later release is nobody's until somebody has thought of it here.
known if input.attempt.kind in {"claim", "release", "approve", "reject", "modify", "reroute", "ask", "answer", "escalate", "cancel"}
