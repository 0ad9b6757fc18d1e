# METADATA
# title: Admission
# description: Before a request is classified. Who is calling and in what form; nothing of what is asked for is known yet.
package lockgate.admission

import data.lockgate.rules.access.identity
import data.lockgate.rules.request.shape
import data.lockgate.rules.tenant.isolation

# METADATA
# entrypoint: true
result := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "allow", "reasons": admitted} if {
	count(admitted) > 0
}

denials := [violation |
	some found in [identity.deny, isolation.deny, shape.deny]
	some violation in found
]

admitted := [reason | some reason in identity.allow]
