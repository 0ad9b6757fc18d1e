# An author who thinks in one chain of cases, with arithmetic over points: whole numbers, for engines round sums of fractions differently.
package lockgate.intents.scores

default weight(_) := 0

weight(level) := {"low": 1, "medium": 2, "high": 3, "critical": 4}[level]

default doubt := 9

doubt := 0 if {
	input.classification.confidence >= 0.9
} else := 2 if {
	input.classification.confidence >= 0.7
} else := 5 if {
	input.classification.confidence >= 0.3
}

total := (weight(input.risk.level) * 10) + doubt

result := {"effect": "deny", "reasons": [{"code": "scores.total", "message": format_int(total, 10)}]} if {
	total >= 36
} else := {
	"effect": "review",
	"obligations": [{"name": "require_review", "params": {"reviewers": ["manager"], "quorum": min([2, weight(input.risk.level)])}}],
} if {
	total >= 24
} else := {"effect": "reroute", "route": "slow"} if {
	total >= 14
} else := {"effect": "allow"}
