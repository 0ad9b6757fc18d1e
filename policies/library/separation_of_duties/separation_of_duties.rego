# METADATA
# title: Separation of duties
# description: |
#   Who holds two roles that exclude each other does nothing; some intents may not be asked for by some roles; and others wait for a second
#   person who has another role. Nobody approves what they asked for themselves: Lockgate refuses that wherever policy asks for a review.
# custom:
#   settings: separation_of_duties
#   why: Who can both enter and release a payment can steal without anybody's help.
#   override: A pair less in `exclusive`, a role less in `kept_from`, an intent less in `second_person`.
package lockgate.library.separation_of_duties

import data.lockgate.lib.concern
import data.lockgate.lib.outcome
import data.lockgate.lib.violation

# METADATA
# title: separation.unset
# description: The package is adopted, and its settings are missing.
# custom:
#   why: Duties that nobody named are not separated.
#   example: "`exclusive` is missing: everything is refused."
#   override: Set them; each may be empty.
deny contains violation.reason("separation.unset", "duties are to be separated, and it is not set which") if not configured

# METADATA
# title: separation.exclusive_roles
# description: The caller holds two roles that exclude each other, or their roles are not known.
# custom:
#   why: The fault is in the roles, so it must hurt wherever they are used.
#   example: "`exclusive: [[clerk, releaser]]` refuses everything to somebody with both."
#   override: Take one of the roles away from the caller.
deny contains violation.reason("separation.exclusive_roles", "the caller holds roles that exclude each other") if {
	concerned
	some pair in data.lockgate.config.separation_of_duties.exclusive
	held := {role | some role in pair; role in input.subject.roles}
	count(held) > 1
}

deny contains violation.reason("separation.exclusive_roles", "the caller's roles are not known") if {
	concerned
	not told(input)
}

# METADATA
# title: separation.kept_from
# description: A role of the caller may not ask for this.
# custom:
#   why: Who develops does not deploy, whatever other roles they have.
#   example: "`kept_from: {release: [developer]}` refuses a developer who is a manager, too."
#   override: Take the role out of the intent's list.
deny contains violation.reason("separation.kept_from", "a role of the caller may not ask for this") if {
	concerned
	some role in data.lockgate.config.separation_of_duties.kept_from[input.intent.name]
	role in input.subject.roles
}

# METADATA
# title: separation.no_reviewer
# description: The request needs a second person, and the caller has every role that could be one.
# custom:
#   why: Who has all the roles would be their own second person, through a colleague who owes them one.
#   example: "`second_person: {pay: {reviewers: [releaser], …}}` refuses a releaser who asks."
#   override: Name another role in `reviewers`.
deny contains violation.reason("separation.no_reviewer", "nobody with another role than the caller's may approve this") if {
	concerned
	second
	count(reviewers) == 0
}

# METADATA
# title: separation.second_person
# description: The request waits for somebody with a role that the caller does not have.
# custom:
#   effect: review
#   why: Four eyes see a wrong account number; and two people have to be bribed.
#   example: "`second_person: {pay: {reviewers: [releaser], quorum: 1, expires: 24h}}`"
#   override: Take the intent out.
review contains violation.reason("separation.second_person", "somebody else has to approve this") if {
	concerned
	second
	count(reviewers) > 0
}

obligations contains concern.held(object.union(needed, {"reviewers": reviewers})) if {
	concerned
	second
	count(reviewers) > 0
}

second if is_object(needed)

needed := data.lockgate.config.separation_of_duties.second_person[input.intent.name]

reviewers := [role | some role in needed.reviewers; not has(role)]

has(role) if role in input.subject.roles

told(seen) if {
	is_array(seen.subject.roles)
	intended(seen)
}

intended(seen) if is_string(seen.intent.name)

intended(seen) if outcome.skipped(seen)

intended(seen) if outcome.fallback(seen)

concerned if {
	configured
	not outcome.abstained(input)
}

configured if {
	settings := data.lockgate.config.separation_of_duties
	is_array(settings.exclusive)
	is_object(settings.kept_from)
	is_object(settings.second_person)
	every each in settings.second_person {
		concern.reviewable(each)
	}
}
