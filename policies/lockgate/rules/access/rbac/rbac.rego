# METADATA
# title: Roles, intents and tenants
# description: |
#   A request passes only by a grant: a role of the caller, for the intent (or its risk level, or the route where there is no intent), in the
#   caller's tenant. Only what can go nowhere needs none.
package lockgate.rules.access.rbac

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

deny contains violation.reason("rbac.no_grant", "none of the caller's roles may do this in their tenant") if {
	count(granting) == 0
	not outcome.abstained(input)
}

deny contains violation.reason("request.incomplete", "the request has no route that can be named") if {
	not routed(input)
}

allow contains violation.reason("rbac.granted", sprintf("granted to the role %s", [role])) if some role in granting

granting contains role if {
	given := grants
	some role in input.subject.roles
	covers(given[role])
}

# METADATA
# description: Tenants by role, for what is asked. An intent's own entry stands in for its risk level's, it is not added to it.
grants := object.get(access.intents, input.intent.name, object.get(access.risks, input.intent.risk, {})) if {
	access := data.lockgate.config.access
	outcome.classified(input)
} else := data.lockgate.config.access.routes[input.route.name] if {
	needs_no_intent(input)
}

routed(seen) if is_null(seen.route)

routed(seen) if {
	is_string(seen.route.name)
	is_string(seen.route.destination)
}

needs_no_intent(seen) if outcome.skipped(seen)

needs_no_intent(seen) if outcome.fallback(seen)

covers(tenants) if {
	"*" in tenants
	is_string(input.subject.tenant)
}

# "*" is callers of no tenant, too.
covers(tenants) if {
	"*" in tenants
	is_null(input.subject.tenant)
}

covers(tenants) if input.subject.tenant in tenants
