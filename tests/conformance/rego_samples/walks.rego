# An author who walks over everything: comprehensions within comprehensions, objects made of lists, `with` over the input.
package lockgate.intents.walks

texts := {value | some _, value in [[path, found] | walk(input.subject, [path, found])][_]; is_string(value)}

by_role := {role: tenants | some role, tenants in data.lockgate.config.access.risks.medium}

granted := {role | some role in input.subject.roles; by_role[role]}

as_manager if admitted with input as object.union(input, {"subject": {"roles": ["manager"]}})

admitted if "manager" in input.subject.roles

result := {"effect": "allow", "reasons": [{"code": "walks.known", "message": concat(",", sort(granted))}]} if {
	count(texts) > 2
	count(granted) > 0
	as_manager
}

result := {"effect": "review"} if {
	count(texts) > 2
	count(granted) == 0
}
