# METADATA
# title: Attributes of the caller
# description: |
#   What is asked for needs attributes that the caller has: groups, tenants, claims of their token, and a part of the path that is theirs. Each
#   rule of the settings is a row of a table: what it is about, and all that it asks for. One row that is met is enough.
# custom:
#   settings: abac
#   why: Roles say what somebody is for; whose branch, clearance or desk it is about is said by attributes.
#   override: "`otherwise: pass` leaves to the other policies what no row is about; a row with nothing but `intents` is met by everybody."
package lockgate.library.abac

import data.lockgate.lib.concern
import data.lockgate.lib.outcome
import data.lockgate.lib.violation

# METADATA
# title: abac.unset
# description: The package is adopted, and its settings are missing.
# custom:
#   why: A table that is not there must not be one that lets everybody pass.
#   example: "`otherwise` is neither `deny` nor `pass`: everything is refused."
#   override: Set them; `rules` may be empty.
deny contains violation.reason("abac.unset", "attributes are to be asked for, and it is not set which") if not configured

# METADATA
# title: abac.no_rule
# description: No row is about the request, and such a request is not left to the other policies.
# custom:
#   why: A new intent should not be open to everybody until somebody thinks of it.
#   example: "`otherwise: deny` and rows for `pay` only refuse a `cancel`."
#   override: "A row for the intent, or `otherwise: pass`."
deny contains violation.reason("abac.no_rule", "no rule says who may ask for this") if {
	configured
	not outcome.abstained(input)
	count(about) == 0
	not data.lockgate.config.abac.otherwise == "pass"
}

# METADATA
# title: abac.not_met
# description: Rows are about the request, and the caller has all that is asked for by none of them.
# custom:
#   why: An attribute that is missing is no attribute that fits.
#   example: "`claims: {clearance: [2, 3]}` refuses a caller whose token says 1, or nothing."
#   override: Another value in the row, or another row.
deny contains violation.reason("abac.not_met", "the caller lacks an attribute that this needs") if {
	configured
	count(about) > 0
	not met
}

about contains place if {
	some place, row in data.lockgate.config.abac.rules
	concern.about(input, row)
}

met if {
	some place in about
	row := data.lockgate.config.abac.rules[place]
	object.keys(row) - {"intents", "risks", "groups", "tenants", "claims", "path"} == set()
	grouped(row)
	placed(row)
	lacking := {name | some name, values in object.get(row, "claims", {}); not claimed(name, values)}
	count(lacking) == 0
	owned(row)
}

grouped(row) if not asks(row, "groups")

grouped(row) if {
	some group in input.subject.groups
	group in row.groups
}

placed(row) if not asks(row, "tenants")

placed(row) if input.subject.tenant in row.tenants

# METADATA
# description: A claim of the token has one of the values; where it is a list, one of its own.
claimed(name, values) if input.subject.claims[name] in values

claimed(name, values) if {
	is_array(input.subject.claims[name])
	some value in input.subject.claims[name]
	value in values
}

# METADATA
# description: "`path: {part: 0, claim: branch}`: that part of the path is what the claim says."
owned(row) if not asks(row, "path")

owned(row) if input.request.path_parts[row.path.part] == input.subject.claims[row.path.claim]

asks(row, key) if key in object.keys(row)

configured if {
	is_array(data.lockgate.config.abac.rules)
	data.lockgate.config.abac.otherwise in {"deny", "pass"}
}
