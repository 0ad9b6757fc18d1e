# METADATA
# title: Personal data that leaves
# description: |
#   Each kind of personal data that was found in a request goes only where a row of the settings lets it, as it is or masked. A kind that no
#   row is about is masked or refused, as `otherwise` says; of several rows the
#   strictest counts. What was not looked at counts as every kind.
# custom:
#   settings: pii_egress
#   why: An account number belongs into the payment service, and not into the ticket system of a supplier.
#   override: A row more; `kinds` has `"*"` for every kind, and a row without `destinations`, `regions` and `tenants` is about all of them.
package lockgate.library.pii_egress

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

# METADATA
# title: pii_egress.unset
# description: The package is adopted, and its settings are missing.
# custom:
#   why: Data that nobody spoke of does not go out.
#   example: "`otherwise` is missing: everything is refused."
#   override: Set them.
deny contains violation.reason("pii_egress.unset", "personal data is to be kept in, and it is not set where") if not configured

# METADATA
# title: pii_egress.not_allowed
# description: The request holds a kind of personal data that may not go to this destination, for this tenant.
# custom:
#   why: Once it is there it cannot be taken back.
#   example: "`{kinds: [pii.iban], destinations: [payments], then: allow}` and `otherwise: deny` refuse an IBAN on its way to `crm`."
#   override: "A row for the kind and the destination with `then: allow` or `then: mask`."
deny contains violation.reason("pii_egress.not_allowed", sprintf("personal data of this kind may not go there (%s)", [kind])) if {
	some kind in found
	not permitted(kind)
	not masked(kind)
}

obligations contains {"name": "mask_body", "params": {}} if {
	some kind in found
	not permitted(kind)
	masked(kind)
}

# Kinds that the request holds, or may hold.
found contains kind if {
	concerned
	some kind, _ in input.signals.findings
	startswith(kind, "pii.")
}

found contains "pii" if {
	concerned
	not inspected(input)
}

concerned if {
	configured
	not outcome.abstained(input)
}

inspected(seen) if {
	is_object(seen.signals.findings)
	looked(seen.signals.unknown)
}

looked(unknown) if {
	is_array(unknown)
	not "pii" in unknown
}

# The strictest row wins.
permitted(kind) if {
	lets(kind, "allow")
	not lets(kind, "mask")
	not lets(kind, "deny")
}

masked(kind) if {
	lets(kind, "mask")
	not lets(kind, "deny")
}

masked(kind) if {
	data.lockgate.config.pii_egress.otherwise == "mask"
	not permitted(kind)
	not lets(kind, "deny")
}

lets(kind, answer) if {
	some row in data.lockgate.config.pii_egress.rules
	row.then == answer
	covers(row.kinds, kind)
	goes(row)
	owns(row)
}

covers(kinds, _) if "*" in kinds

covers(kinds, kind) if kind in kinds

goes(row) if object.keys(row) & {"destinations", "regions"} == set()

goes(row) if input.route.destination in object.get(row, "destinations", [])

goes(row) if {
	regions := data.lockgate.config.pii_egress.regions
	regions[input.route.destination] in object.get(row, "regions", [])
}

owns(row) if not "tenants" in object.keys(row)

owns(row) if input.subject.tenant in row.tenants

configured if {
	is_array(data.lockgate.config.pii_egress.rules)
	data.lockgate.config.pii_egress.otherwise in {"deny", "mask"}
}
