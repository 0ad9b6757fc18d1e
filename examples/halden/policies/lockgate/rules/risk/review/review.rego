# METADATA
# title: Risk
# description: |
#   High and critical requests wait for a person, unless the caller's role is trusted with the intent. Something critical is refused outright
#   to callers without a privileged role. A level that is not known counts as critical.
package lockgate.rules.risk.review

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

deny contains violation.reason("risk.critical", "something this critical may only be asked for by a privileged role") if {
	not bounded(input)
	not privileged(input)
	not outcome.abstained(input)
}

review contains violation.reason("risk.critical", "the request is critical and needs several people") if {
	not bounded(input)
	not trusted(input)
	not outcome.abstained(input)
}

review contains violation.reason("risk.high", "the request is of high risk and needs a second person") if {
	input.risk.level == "high"
	not trusted(input)
	not outcome.abstained(input)
}

bounded(seen) if seen.risk.level in {"low", "medium", "high"}

privileged(seen) if holds(seen.subject.roles, data.lockgate.config.review.privileged)

trusted(seen) if {
	outcome.classified(seen)
	holds(["*"], data.lockgate.config.review.exempt[seen.intent.name])
}

trusted(seen) if {
	outcome.classified(seen)
	holds(seen.subject.roles, data.lockgate.config.review.exempt[seen.intent.name])
}

holds(roles, wanted) if {
	some role in roles
	role in wanted
}
