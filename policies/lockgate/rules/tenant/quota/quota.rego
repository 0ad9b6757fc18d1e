# METADATA
# title: Quotas
# description: How many requests a tenant, or one caller with a role, may make before anything is classified. Without settings there is none.
package lockgate.rules.tenant.quota

import data.lockgate.lib.violation

deny contains violation.reason("request.incomplete", "the caller's roles are not known, by which quotas are given") if {
	not listed(input)
}

listed(seen) if is_array(seen.subject.roles)

obligations contains quota("tenant", granted) if {
	granted := data.lockgate.config.quotas.tenants[input.subject.tenant]
}

obligations contains quota("tenant", granted) if {
	granted := data.lockgate.config.quotas.tenants["*"]
	not has_its_own(input)
}

# Of several roles every one's quota holds.
obligations contains quota("subject", granted) if {
	listed(input)
	some role in input.subject.roles
	granted := data.lockgate.config.quotas.roles[role]
}

has_its_own(seen) if data.lockgate.config.quotas.tenants[seen.subject.tenant]

# What the settings say is handed on whole: a quota that cannot be read denies, instead of not being there.
quota(key, granted) := {"name": "rate_limit", "params": object.union(granted, {"key": key})}
