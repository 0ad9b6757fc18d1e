# METADATA
# title: What was not looked at
# description: Signals that could not be computed are not absent. Such a request goes only where the workspace says that it may.
package lockgate.rules.signals.unknown

import data.lockgate.lib.outcome
import data.lockgate.lib.violation

deny contains violation.reason("signals.unknown", "the request could not be inspected whole") if {
	not inspected(input)
	not tolerated(input)
	not outcome.abstained(input)
}

inspected(seen) if {
	is_object(seen.signals.findings)
	seen.signals.unknown == []
}

tolerated(seen) if seen.route.name in data.lockgate.config.signals.uninspected_routes
