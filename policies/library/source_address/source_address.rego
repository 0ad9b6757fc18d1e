# METADATA
# title: Where requests come from
# description: |
#   Requests come from networks that are allowed and not refused: for all, for a tenant, for a role. Whatever applies to a caller holds, and
#   of several roles every one's. It is asked at admission, before anything is classified. The address is the peer's, behind proxies of
#   `gateway.trusted_proxies` the one that they say; of the decide API it is what its caller says, or the caller's own. Name only the proxies
#   there and no network that has clients in it, for whoever stands there is believed. A proxy that names nobody, or no address, counts with
#   its own, so keep that out of what is allowed, or refuse it. An IPv4 address that a socket for both kinds has as `::ffff:10.1.2.3` is that
#   address.
# custom:
#   settings: source_address
#   why: A stolen key works from anywhere, unless somebody wrote down where it may come from.
#   override: The networks themselves; `0.0.0.0/0` and `::/0` are everywhere.
package lockgate.library.source_address

import data.lockgate.lib.networks
import data.lockgate.lib.violation

# METADATA
# title: source.unset
# description: The package is adopted, and its settings are missing or cannot be read.
# custom:
#   why: Of a network that nobody can read it is not known whether a request comes from it.
#   example: "`allowed: [10.0.0.0]`, which has no length."
#   override: Set them.
deny_at_admission contains violation.reason("source.unset", "networks are to be looked at, and are not set") if not configured

deny_at_admission contains violation.reason("source.unset", "the networks that are set cannot be read") if {
	known
	count(answers) < count(lists)
}

deny_at_admission contains violation.reason("source.unset", "a part of the settings names no networks") if {
	some part in applying
	not limiting(part)
}

# METADATA
# title: source.unknown
# description: Something applies to the caller, and the address is missing or is none.
# custom:
#   why: What is not known is never in a network that is allowed.
#   example: A link-local address with a zone; a client's name, or an address with a port, from a caller of the decide API.
#   override: None; where nothing applies to a caller, no address is needed.
deny_at_admission contains violation.reason("source.unknown", "it is not known from which address the request comes") if {
	count(applying) > 0
	not known
}

# METADATA
# title: source.outside
# description: The address is in none of the networks that are allowed.
# custom:
#   why: An administrator works in the office, whoever has the password.
#   example: "`roles: {admin: {allowed: [10.1.0.0/16]}}` refuses an admin at 10.2.0.1."
#   override: The network in the list.
deny_at_admission contains violation.reason("source.outside", "the request comes from no network that is allowed") if {
	["allowed", false] in answers
}

# METADATA
# title: source.refused
# description: The address is in one of the networks that are refused.
# custom:
#   why: A part of what is allowed may be for guests.
#   example: "`allowed: [10.0.0.0/8]`, `refused: [10.66.0.0/16]` refuses 10.66.0.1."
#   override: The network out of the list.
deny_at_admission contains violation.reason("source.refused", "the request comes from a network that is refused") if {
	["refused", true] in answers
}

# METADATA
# title: request.incomplete
# description: Networks are set by tenant or by role, and the caller's are not known; a caller of no tenant has those of `"*"`.
# custom:
#   why: Of whom it is not known who it is, it is not known which networks hold.
#   example: A caller without a tenant, where `tenants` has no `"*"`.
#   override: "`\"*\"` in `tenants`."
deny_at_admission contains violation.reason("request.incomplete", "the tenant is not known, by which networks are set") if {
	settings.tenants
	not placed(input)
}

deny_at_admission contains violation.reason("request.incomplete", "the roles are not known, by which networks are set") if {
	settings.roles
	not listed(input)
}

# Of every list that applies: which it is, and whether the address is in one of its networks. There is no answer of one that cannot be read.
answers := [[kind, found] |
	some [kind, written] in lists
	found := networks.within(written, client)
]

lists := array.concat(
	[["allowed", part.allowed] | some part in applying],
	[["refused", part.refused] | some part in applying],
)

known if is_string(client)

client := networks.address(input.request.client) if is_string(input.request.client)

applying := array.concat(of_all, array.concat(of_tenant, of_roles))

of_all := [settings | limiting(settings)]

of_tenant := own if {
	count(own) > 0
} else := [part | part := settings.tenants["*"]]

own := [part | part := settings.tenants[input.subject.tenant]]

of_roles := [part |
	listed(input)
	some role in input.subject.roles
	part := settings.roles[role]
]

limiting(part) if {
	is_object(part)
	count(object.filter(part, ["allowed", "refused"])) > 0
}

placed(seen) if is_string(seen.subject.tenant)

placed(seen) if {
	seen.subject.tenant == null
	is_object(settings.tenants["*"])
}

listed(seen) if is_array(seen.subject.roles)

settings := data.lockgate.config.source_address

configured if {
	count(object.filter(settings, ["allowed", "refused", "tenants", "roles"])) > 0
	is_object(object.get(settings, "tenants", {}))
	is_object(object.get(settings, "roles", {}))
}
