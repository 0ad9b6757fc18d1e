# METADATA
# title: The form of a request
# description: Methods and bodies that nothing behind the gateway expects are refused before any work is done on them.
package lockgate.rules.request.shape

import data.lockgate.lib.violation

deny contains violation.reason("request.method", "this method is not served") if {
	not served(input)
}

deny contains violation.reason("request.body_unreadable", sprintf("the body could not be read (%s)", [input.request.body.problem])) if {
	input.request.body.problem in data.lockgate.config.request.refused_problems
}

deny contains violation.reason("request.body_truncated", "the body is larger than the part that is inspected") if {
	not input.request.body.truncated == false
	not large(input)
}

deny contains violation.reason("request.incomplete", "the request lacks something that policies decide by") if {
	not complete(input)
}

# METADATA
# description: What rules compare with is there. A rule that denies by a header or a host cannot, without them.
complete(seen) if {
	is_string(seen.request.host)
	is_object(seen.request.headers)
	told(seen.request.body.problem)
}

told(problem) if is_null(problem)

told(problem) if is_string(problem)

served(seen) if seen.request.method in data.lockgate.config.request.methods

large(seen) if seen.request.path_parts[0] in data.lockgate.config.request.large_bodies
