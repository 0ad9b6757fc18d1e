# An author who quantifies over findings and candidates.
package lockgate.intents.signals

severe contains name if {
	some name, found in input.signals.findings
	found.score >= 0.5
	not tolerated(name)
}

tolerated(name) if regex.match(`^pii\.[a-z]+$`, name)

close if {
	some one in input.classification.candidates
	some other in input.classification.candidates
	one.intent != other.intent
	abs(one.confidence - other.confidence) < 0.1
}

every_kind_seen if {
	every kind in ["pii", "secret", "injection"] {
		not unknown(kind)
	}
}

unknown(kind) if kind in input.signals.unknown

effect := "deny" if count(severe) > 0

effect := "review" if {
	count(severe) == 0
	not every_kind_seen
}

effect := "allow" if {
	count(severe) == 0
	every_kind_seen
}

reasons := array.concat(
	[{"code": "signals.severe", "message": name} | some name in sort(severe)],
	[{"code": "signals.close"} | close],
)

result := {"effect": effect, "reasons": reasons, "obligations": [{"name": "mask_body"}]}
