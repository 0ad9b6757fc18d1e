# METADATA
# title: Admission
# description: Before a request is classified. Who is calling and in what form; nothing of what is asked for is known yet.
package lockgate.admission

# METADATA
# entrypoint: true
result := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "allow", "reasons": admitted, "obligations": quotas} if {
	count(admitted) > 0
}

# Rules stand here by their full paths, which cost the embedded engine half of what an import costs.
denials := [violation |
	some found in [
		data.lockgate.rules.access.identity.deny,
		data.lockgate.rules.tenant.isolation.deny,
		data.lockgate.rules.tenant.quota.deny,
		data.lockgate.rules.request.shape.deny,
	]
	some violation in found
]

quotas := [quota | some quota in data.lockgate.rules.tenant.quota.obligations]

admitted := [reason | some reason in data.lockgate.rules.access.identity.allow]
