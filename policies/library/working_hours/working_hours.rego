# METADATA
# title: Working hours
# description: |
#   Requests are made while somebody works who would notice. The time is the request's own (`input.request.time`), in a named time zone with
#   its changes to and from summer time, so that a replay decides as it was decided.
# custom:
#   settings: working_hours
#   why: What is asked for at night or on a holiday is seen by nobody until morning, and often was not asked for by whom it says.
#   override: |
#     `exempt` names roles that work at any time, `intents` and `risks` narrow it to some requests, `otherwise: review` holds instead of
#     refusing.
package lockgate.library.working_hours

import data.lockgate.lib.concern
import data.lockgate.lib.instants
import data.lockgate.lib.violation

# METADATA
# title: working_hours.unset
# description: The package is adopted, and its settings are missing or cannot be read.
# custom:
#   why: Hours that nobody set are no reason to let everything pass.
#   example: "`days` is empty: everything is refused."
#   override: Set them.
deny contains violation.reason("working_hours.unset", "working hours are to be kept, and are not set") if not configured

# METADATA
# title: working_hours.closed
# description: Nobody works at the time of the request.
# custom:
#   effect: deny or review, as `otherwise` says
#   why: A payment on a Saturday is either urgent, which a role can say, or not wanted.
#   example: "`days: [Monday, Tuesday]` refuses a request of a Saturday."
#   override: Add the day, the span, or the caller's role to `exempt`.
deny contains closed if {
	outside
	data.lockgate.config.working_hours.otherwise == "deny"
}

review contains closed if {
	outside
	data.lockgate.config.working_hours.otherwise == "review"
}

obligations contains concern.held(data.lockgate.config.working_hours.review) if {
	outside
	data.lockgate.config.working_hours.otherwise == "review"
}

closed := violation.reason("working_hours.closed", "this may not be asked for outside of working hours")

outside if {
	configured
	not open(input)
	not exempt(input)
	concern.about(input, data.lockgate.config.working_hours)
}

# Functions, since every rule of a package costs the embedded engine its time, needed or not.
exempt(seen) if concern.holds(seen, object.get(data.lockgate.config.working_hours, "exempt", []))

open(seen) if {
	hours := data.lockgate.config.working_hours
	moment := [seen.request.time.ns, hours.zone]
	time.weekday(moment) in hours.days
	holidays := object.get(hours, "holidays", [])
	day := instants.day(moment)
	not day in holidays
	clock := time.clock(moment)
	minute := (clock[0] * 60) + clock[1]
	some span in hours.spans
	minute >= instants.minutes(span.from)
	minute < instants.minutes(span.to)
}

configured if {
	hours := data.lockgate.config.working_hours
	is_string(hours.zone)
	count(hours.days) > 0
	count(hours.spans) > 0
	answerable(hours)
}

answerable(hours) if hours.otherwise == "deny"

answerable(hours) if {
	hours.otherwise == "review"
	concern.reviewable(hours.review)
}
