# METADATA
# title: Roles, intents and tenants
# description: |
#   A request passes only where a role of the caller has a grant for what is asked, in the caller's tenant. These are the rules that
#   `lockgate init` puts into a workspace, for policies that have none of the kind; where they are there already it changes nothing.
# custom:
#   settings: access
#   why: Who may do what is a table that people can read and sign, not code.
#   override: Change the table; `"*"` as a tenant is every tenant, and none.
package lockgate.library.rbac

import data.lockgate.rules.access.rbac

# METADATA
# title: rbac.no_grant
# description: None of the caller's roles has a grant for the intent, or else for its risk level; or for the route, where there is no intent.
# custom:
#   why: What nobody was granted, nobody may do.
#   example: "`intents: {pay: {clerk: [eu]}}` refuses a clerk of the tenant `us`."
#   override: Add the role and the tenant to the intent's entry. The code of `request.incomplete` is a request whose route has no name.
deny contains violation if some violation in rbac.deny
