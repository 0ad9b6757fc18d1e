# METADATA
# title: Regions stay apart
# description: |
#   What belongs to a tenant of one region goes to no destination, and comes over no host, of another. Regions are names that the data gives
#   to tenants, destinations and hosts.
# custom:
#   settings: geo_isolation
#   why: Where data may be processed is law, and a route that was added on a Friday knows nothing of it.
#   override: A destination can stand in several regions; `everywhere` names destinations that hold nothing of anybody.
package lockgate.library.geo_isolation

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

# METADATA
# title: geo.unset
# description: The package is adopted, and its settings are missing.
# custom:
#   why: Regions that nobody named cannot be kept apart.
#   example: "`tenants` is missing: everything is refused."
#   override: Set them.
deny contains violation.reason("geo.unset", "regions are to be kept apart, and are not set") if not configured

# METADATA
# title: geo.tenant_unplaced
# description: The caller's tenant is in no region; a caller without a tenant is in none.
# custom:
#   why: Of whom it is not known where they belong, it is not known where their data may go.
#   example: A tenant that was added to the identity provider this morning.
#   override: The tenant's region in `tenants`, or the destination in `everywhere`.
deny contains violation.reason("geo.tenant_unplaced", "the caller's tenant is in no region") if {
	confined
	not home
}

# METADATA
# title: geo.destination_elsewhere
# description: The destination does not stand in the region of the caller's tenant.
# custom:
#   why: The request would leave the region.
#   example: "`tenants: {bank-eu: eu}`, `destinations: {crm: [us]}`: nobody of bank-eu reaches crm."
#   override: The region in the destination's list.
deny contains violation.reason("geo.destination_elsewhere", "the destination stands in another region than the caller's tenant") if {
	confined
	home
	not reachable
}

# METADATA
# title: geo.host_elsewhere
# description: The request came over a host of another region.
# custom:
#   why: What came in abroad was abroad already, and somebody should know.
#   example: "`hosts: {us.bank.example: us}` refuses callers of the region `eu` there."
#   override: Leave the host out of `hosts`.
deny contains violation.reason("geo.host_elsewhere", "the host stands in another region than the caller's tenant") if {
	confined
	region := data.lockgate.config.geo_isolation.hosts[input.request.host]
	not at_home(region)
}

deny contains violation.reason("geo.host_elsewhere", "the host over which the request came is not known") if {
	configured
	not outcome.abstained(input)
	not hosted(input)
}

confined if {
	configured
	not outcome.abstained(input)
	not everywhere
}

everywhere if input.route.destination in object.get(data.lockgate.config.geo_isolation, "everywhere", [])

home if is_string(data.lockgate.config.geo_isolation.tenants[input.subject.tenant])

at_home(region) if data.lockgate.config.geo_isolation.tenants[input.subject.tenant] == region

reachable if {
	some region in data.lockgate.config.geo_isolation.destinations[input.route.destination]
	at_home(region)
}

hosted(seen) if is_string(seen.request.host)

configured if {
	is_object(data.lockgate.config.geo_isolation.tenants)
	is_object(data.lockgate.config.geo_isolation.destinations)
}
