# METADATA
# title: Tenants stay apart
# description: |
#   A caller acts for its own tenant, whatever it writes into the request. These are the rules that `lockgate init` puts into a workspace for
#   admission, for policies that have none of the kind.
# custom:
#   settings: tenant
#   why: A header is written by whoever sends it; a tenant is what the caller's credentials say.
#   override: "`required: false` serves callers without a tenant; `hosts` gives a host to one tenant."
package lockgate.library.tenant_isolation

import data.lockgate.lib.outcome
import data.lockgate.lib.violation
import data.lockgate.rules.tenant.isolation

# METADATA
# title: tenant.mismatch
# description: |
#   The header or the host belongs to another tenant than the caller; or, as `tenant.unknown`, the caller to none that is served;
#   or, as `request.incomplete`, host or headers are not there.
# custom:
#   why: One bank's clerk must not cancel another's payment.
#   example: "`header: x-tenant` refuses a caller of `eu` that sends `x-tenant: us`."
#   override: None for a mismatch; `known` lists the tenants that are served.
deny contains found if some found in isolation.deny

deny contains violation.reason("request.incomplete", "the request lacks something that tenants are kept apart by") if {
	not outcome.abstained(input)
	not complete(input)
}

complete(seen) if {
	is_string(seen.request.host)
	is_object(seen.request.headers)
}
