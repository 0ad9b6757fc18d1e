# METADATA
# title: Which of several routes
# description: |
#   A route of the catalog may name others that do the same (`alternatives`). Then a request goes where it is best off: away from a destination
#   that is failing, to people with more experience when the classifier is not sure, and to what costs less when it is. Nothing goes to a route
#   that is not among the alternatives, and none to one of which it is known that it fails.
# custom:
#   settings: route_choice
#   why: Which of two services is up, what an answer costs and how sure one is of the question are known at the moment of the decision only.
#   override: Leave a part of the settings out, and that choice is not made. Deny and review come before any choice.
package lockgate.library.route_choice

import data.lockgate.lib.violation

# METADATA
# title: route_choice.unset
# description: The package is adopted, and its settings are missing or cannot be read.
# custom:
#   why: What counts as failing is not for a default to say.
#   example: "`failing` is missing: everything is refused."
#   override: Set `failing`.
deny contains violation.reason("route_choice.unset", "routes are to be chosen between, and it is not set how") if not configured

reroute contains choice if {
	configured
	not alone(input)
}

# METADATA
# description: What may stay where it is without a choice, a route without alternatives among it; the other policies judge it as ever.
alone(seen) if not told(seen)

told(seen) if is_object(seen.routes)

choice := {"route": best, "reason": violation.reason("route_choice.failing", "the route's destination is failing, and another's is not")} if {
	failing(input.routes[input.route.name])
	best := cheapest(input)
} else := {"route": senior, "reason": violation.reason("route_choice.unsure", "whoever has more experience takes what is not sure")} if {
	unsure(input)
	senior := data.lockgate.config.route_choice.unsure.routes[input.route.name]
	sound(input.routes[senior])
} else := {"route": best, "reason": violation.reason("route_choice.cheaper", "it costs less, and is good enough for what is sure")} if {
	sure(input)
	best := cheapest(input)
	input.routes[best].cost < input.routes[input.route.name].cost
}

# METADATA
# description: The sound alternative with the least cost; those without one come last, and the first by name of those that cost the same.
cheapest(seen) := best[1] if {
	best := min({[price(each), name] |
		some name, each in seen.routes
		name != seen.route.name
		sound(each)
	})
}

price(each) := each.cost if is_number(each.cost)

else := 1000000000000

failing(each) if each.usable == false

failing(each) if each.recent.failed > data.lockgate.config.route_choice.failing

# METADATA
# description: |
#   Fit to be chosen: it may be asked, or nobody can say, and as far as it was used lately it did not fail and was as quick as it promises.
sound(each) if {
	askable(each.usable)
	kept(each)
}

askable(usable) if usable == true

askable(usable) if is_null(usable)

kept(each) if is_null(each.recent)

kept(each) if {
	each.recent.failed <= data.lockgate.config.route_choice.failing
	in_time(each)
}

in_time(each) if is_null(each.sla.latency_ms)

in_time(each) if each.recent.latency_p95_ms <= each.sla.latency_ms

unsure(seen) if seen.classification.confidence < data.lockgate.config.route_choice.unsure.below

sure(seen) if {
	seen.classification.status == "classified"
	seen.classification.confidence >= data.lockgate.config.route_choice.cheaper.from
}

configured if is_number(data.lockgate.config.route_choice.failing)
