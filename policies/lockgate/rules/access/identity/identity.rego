# METADATA
# title: Callers are known
# description: A caller without credentials is refused unless the workspace opens itself to them.
package lockgate.rules.access.identity

import data.lockgate.lib.violation

deny contains violation.reason("access.anonymous", "the caller has not said who they are") if {
	not identified(input)
	not data.lockgate.config.access.anonymous == true
}

allow contains violation.reason("access.identified", "the caller is known") if identified(input)

allow contains violation.reason("access.open", "callers need not say who they are here") if {
	not identified(input)
	data.lockgate.config.access.anonymous == true
}

identified(seen) if {
	seen.subject.authenticated_by in {"api_key", "certificate", "jwt", "delegated", "signature", "broker"}
	is_string(seen.subject.id)
	seen.subject.id != ""
}
