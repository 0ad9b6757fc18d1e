# METADATA
# title: Breaking the glass
# description: |
#   In an emergency somebody may do what the rules otherwise refuse: by a grant in the data, which two other people gave for a time, or by
#   asking two people now. Who does so says why in a header; it is always on record, under codes `break_glass.*` and with a `log` obligation.
#   Only the denials and reviews whose codes `lifts` names are lifted, and never those about credentials, injection, tenants, the caller's
#   identity or address, the request's form, unset packages or this package itself. The strictest of everything else still decides.
# custom:
#   settings: break_glass
#   why: Without a way through that is watched, people build one that is not.
#   override: |
#     `lifts` is what can be lifted at all; without `grants` there are only reviews, without `ask` only grants. `longest_hours` bounds a grant.
package lockgate.library.break_glass

import data.lockgate.lib.concern
import data.lockgate.lib.instants
import data.lockgate.lib.outcome
import data.lockgate.lib.violation

# METADATA
# title: break_glass.unset
# description: The package is adopted, and its settings are missing or cannot be read.
# custom:
#   why: Nobody should find out in an emergency that the glass cannot be broken.
#   example: "`longest_hours` is missing: everything is refused."
#   override: Set them.
deny contains violation.reason("break_glass.unset", "exceptions are foreseen, and are not set") if not configured

# METADATA
# title: break_glass.refused
# description: The header is there, and neither a grant nor a question to others is open to the caller.
# custom:
#   why: An attempt must leave a trace of its own.
#   example: A grant that ended a minute ago, that one person gave, that the caller gave to themselves, or for longer than `longest_hours`.
#   override: Have two others put a grant into the data, or give the caller a role of `ask`.
deny contains violation.reason("break_glass.refused", "there is no grant for such an exception now") if {
	invoked(input)
	count(using) == 0
	not may_ask(input)
}

# METADATA
# title: break_glass.incomplete
# description: The caller, the time or the headers are not known, by which exceptions are decided.
# custom:
#   why: Who asked for an exception must be known afterwards, and whether one was asked for at all.
#   example: An input without `request.headers`, which the gateway never sends.
#   override: None.
deny contains violation.reason("break_glass.incomplete", "the request lacks something that exceptions are decided by") if {
	not outcome.abstained(input)
	not complete(input)
}

# METADATA
# title: break_glass.asked
# description: The caller has a role of `ask`, and no grant; the request waits for two people at least.
# custom:
#   effect: review
#   why: Two people who look now are worth as much as two who looked before.
#   example: Somebody on call cancels a payment at night; two managers approve it.
#   override: "`ask.roles`, `ask.reviewers`, `ask.quorum` (2 or more), `ask.expires`."
review contains violation.reason("break_glass.asked", "an exception is asked for, which needs two people") if asked

obligations contains concern.held(data.lockgate.config.break_glass.ask) if asked

obligations contains {"name": "log", "params": {"fields": ["break_glass"]}} if invoked(input)

# METADATA
# title: break_glass.used
# description: The request goes on by a grant.
# custom:
#   effect: allow, beside what else is said
#   why: Everything that was done under a grant is found by one code.
#   example: "`lockgate audit query --reason break_glass.used`"
#   override: None; it is always recorded.
grants contains violation.reason("break_glass.used", sprintf("by the exception %s", [ticket])) if some ticket in using

grants contains violation.reason("break_glass.asked", "an exception is asked for, which needs two people") if asked

# METADATA
# description: Codes that do not count for this request.
lifted contains code if {
	count(using) > 0
	some code in data.lockgate.config.break_glass.lifts
	liftable(code)
}

lifted contains code if {
	asked
	some code in data.lockgate.config.break_glass.lifts
	liftable(code)
}

# Tickets of the grants that are in force.
using contains grant.ticket if {
	invoked(input)
	configured
	some grant in object.get(data.lockgate.config.break_glass, "grants", [])
	grant.subject == input.subject.id
	is_string(grant.ticket)
	named(grant)
	begin := instants.seconds(grant.from)
	end := instants.seconds(grant.until)
	now := instants.seconds(input.request.time.iso)
	begin <= now
	now < end
	end - begin <= data.lockgate.config.break_glass.longest_hours * 3600
	others := {person | some person in grant.approved_by; person != ""; person != grant.subject}
	count(others) >= 2
}

asked if {
	invoked(input)
	configured
	count(using) == 0
	may_ask(input)
}

# Functions, since every rule of a package costs the embedded engine its time, needed or not.
may_ask(seen) if {
	ask := data.lockgate.config.break_glass.ask
	concern.reviewable(ask)
	ask.quorum >= 2
	concern.holds(seen, ask.roles)
	named(ask)
}

# METADATA
# description: The intent is named; a request whose intent was not found only where that is every intent.
named(setting) if input.intent.name in setting.intents

named(setting) if "*" in setting.intents

invoked(seen) if {
	why := seen.request.headers[data.lockgate.config.break_glass.header]
	trim_space(why) != ""
	not outcome.abstained(seen)
}

complete(seen) if {
	is_string(seen.subject.id)
	is_array(seen.subject.roles)
	is_object(seen.request.headers)
	is_string(seen.request.time.iso)
}

liftable(code) if not regex.match(`^(signals|request|source|tenant|access|break_glass)\.|\.unset$`, code)

configured if {
	settings := data.lockgate.config.break_glass
	is_string(settings.header)
	count(settings.lifts) > 0
	settings.longest_hours > 0
	settings.longest_hours <= 72
}
