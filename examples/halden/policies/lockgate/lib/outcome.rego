# METADATA
# title: How the classification ended
# description: Functions, because a rule of another package costs the embedded engine the whole package. `seen` is the input.
package lockgate.lib.outcome

# METADATA
# description: An intent was found, and the catalog has it.
classified(seen) if {
	seen.classification.status == "classified"
	seen.intent.name == seen.classification.intent
}

# METADATA
# description: A rule said that no intent is needed.
skipped(seen) if {
	seen.classification.status == "skipped"
	is_null(seen.intent)
}

# METADATA
# description: No intent was found.
unresolved(seen) if seen.classification.status in {"ambiguous", "out_of_scope", "undetermined", "unavailable"}

# METADATA
# description: No intent was found, and so the request goes nowhere.
abstained(seen) if {
	is_null(seen.route)
	unresolved(seen)
}

# METADATA
# description: No intent was found; the request would take a route that is configured for that.
fallback(seen) if {
	is_string(seen.route.name)
	unresolved(seen)
}
