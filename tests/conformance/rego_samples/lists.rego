# An author who thinks in sets of violations, and joins them at the end.
package lockgate.intents.lists

violations contains {"code": "lists.role", "message": sprintf("needs %s", [concat(" or ", sort(wanted))])} if {
	some wanted in [{"hr_partner", "manager"}]
	count({role | some role in input.subject.roles} & wanted) == 0
}

violations contains {"code": "lists.tenant"} if {
	not known(input)
}

violations contains {"code": "lists.late", "message": input.request.time.iso} if {
	time.clock(input.request.time.ns)[0] > 17
}

known(seen) if seen.subject.tenant in data.lockgate.config.tenant.known

known(seen) if startswith(seen.subject.tenant, "halden-")

result := {"effect": "allow"} if count(violations) == 0

result := {"effect": "deny", "reasons": [each | some each in violations]} if count(violations) > 0
