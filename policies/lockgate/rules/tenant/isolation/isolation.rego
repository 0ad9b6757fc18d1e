# METADATA
# title: Tenants stay apart
# description: A caller acts for its own tenant and no other, whatever it writes into the request.
package lockgate.rules.tenant.isolation

import data.lockgate.lib.violation

deny contains violation.reason("tenant.unknown", "the caller belongs to no tenant that is served here") if {
	not placed(input)
}

deny contains violation.reason("tenant.mismatch", "the request names a tenant to which the caller does not belong") if {
	named := input.request.headers[data.lockgate.config.tenant.header]
	not named == input.subject.tenant
}

deny contains violation.reason("tenant.mismatch", "the host serves a tenant to which the caller does not belong") if {
	owner := data.lockgate.config.tenant.hosts[input.request.host]
	not owner == input.subject.tenant
}

placed(seen) if seen.subject.tenant in data.lockgate.config.tenant.known

placed(seen) if {
	data.lockgate.config.tenant.required == false
	is_string(seen.subject.tenant)
}

# Where tenants are optional, a caller may belong to none.
placed(seen) if {
	data.lockgate.config.tenant.required == false
	is_null(seen.subject.tenant)
}
