# An author who takes requests apart: paths, headers, claims and hosts, each of which may be missing.
package lockgate.intents.paths

import rego.v1

parts := input.request.path_parts

team := object.get(input.subject.claims, ["org", "team"], "none")

own if parts == ["ask"]

own if {
	count(parts) > 1
	parts[0] == "teams"
	parts[count(parts) - 1] == team
}

internal if net.cidr_contains("10.0.0.0/8", input.request.client)

named := trim_space(split(input.request.headers["x-halden-tenant"], ",")[0])

result := {"effect": "deny", "reasons": [{"code": "paths.foreign", "message": named}]} if {
	named != input.subject.tenant
} else := {"effect": "allow", "obligations": [{"name": "add_headers", "params": {"headers": {"x-team": team}}}]} if {
	own
} else := {"effect": "allow"} if {
	internal
}
