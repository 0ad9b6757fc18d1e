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

import data.lockgate.rules.tenant.isolation

# METADATA
# title: tenant.mismatch
# description: The header or the host belongs to another tenant than the caller; or, as `tenant.unknown`, the caller to none that is served.
# custom:
#   why: One bank's clerk must not cancel another's payment.
#   example: "`header: x-tenant` refuses a caller of `eu` that sends `x-tenant: us`."
#   override: None for a mismatch; `known` lists the tenants that are served.
deny contains violation if some violation in isolation.deny
