# METADATA
# title: Whom a setting is about
# description: Functions. `seen` is the input, `setting` a part of the data that may have `intents` and `risks`.
package lockgate.lib.concern

import data.lockgate.lib.outcome

# METADATA
# description: |
#   A setting without `intents` and `risks` is about every request that goes anywhere; one with them about those that are in either. A request
#   about which that is not known is taken for one of them.
about(seen, setting) if {
	not narrowed(setting)
	not outcome.abstained(seen)
} else if {
	seen.intent.name in object.get(setting, "intents", [])
} else if {
	is_object(seen.intent)
	"*" in object.get(setting, "intents", [])
} else if {
	seen.risk.level in object.get(setting, "risks", [])
	not outcome.abstained(seen)
} else if {
	narrowed(setting)
	not known(seen)
	not outcome.abstained(seen)
}

narrowed(setting) if is_array(setting.intents)

narrowed(setting) if is_array(setting.risks)

known(seen) if {
	is_string(seen.intent.name)
	is_string(seen.risk.level)
}

known(seen) if {
	outcome.skipped(seen)
	is_string(seen.risk.level)
}

# METADATA
# description: One of the roles.
holds(seen, roles) if {
	some role in seen.subject.roles
	role in roles
}

# METADATA
# description: A setting that says who is to look at a request, how many of them and until when.
reviewable(setting) if {
	count(setting.reviewers) > 0
	is_number(setting.quorum)
	is_string(setting.expires)
}

# METADATA
# description: The obligation of a held request.
held(setting) := {"name": "require_review", "params": {
	"reviewers": setting.reviewers,
	"quorum": setting.quorum,
	"expires": setting.expires,
}}
