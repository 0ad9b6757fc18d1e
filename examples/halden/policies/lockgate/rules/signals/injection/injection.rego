# METADATA
# title: Prompt injection
# description: Text that tries to talk a model or a reviewer into something is refused when plain, and looked at when likely.
package lockgate.rules.signals.injection

import data.lockgate.lib.violation

deny contains violation.reason("signals.injection", "the text tries to give orders to the machine") if {
	found := input.signals.findings.injection
	not below(found, "deny")
}

review contains violation.reason("signals.injection", "the text may try to give orders to the machine") if {
	found := input.signals.findings.injection
	not below(found, "review")
}

# METADATA
# description: Nothing is below a limit that is missing, and a score that is missing is below none.
below(found, name) if {
	limit := data.lockgate.config.signals.injection[name]
	is_number(limit)
	is_number(found.score)
	found.score < limit
}
