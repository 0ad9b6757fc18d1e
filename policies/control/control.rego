# METADATA
# title: Control
# description: |
#   Who may do what in the control API and the console, asked at every request. Any denial of the workspace's own denies; otherwise a grant is
#   needed: by a role, by a single permission of a key's, or by the workspace's own. What is no question at all has no answer, which is a denial.
package lockgate.control

# METADATA
# entrypoint: true
result := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "allow", "reasons": grants} if {
	count(grants) > 0
} else := {"effect": "deny", "reasons": missing} if {
	is_string(input.permission)
	is_array(input.principal.roles)
	is_array(input.principal.scopes)
}

denials := [reason | some reason in data.lockgate.control.own.deny]

grants := [reason |
	some found in [by_role, by_scope, data.lockgate.control.own.grant]
	some reason in found
]

missing := [{"code": "permission_missing", "message": sprintf("no role and no scope gives the permission %s", [input.permission])}]

# METADATA
# description: Roles count beside the scope `control` only. A gateway key's `admin` is another's word.
by_role contains {"code": "role", "message": sprintf("the role %s gives it", [role])} if {
	"control" in input.principal.scopes
	some role in input.principal.roles
	input.permission in data.lockgate.config.control.roles[role]
}

by_scope contains {"code": "scope", "message": "the key has it as a scope"} if {
	concat("", ["control:", input.permission]) in input.principal.scopes
	input.permission in data.lockgate.config.control.single
}
