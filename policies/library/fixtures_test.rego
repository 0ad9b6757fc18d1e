# METADATA
# title: What the library's tests decide on
# description: A request of Saturday, 28 November 2026, 10:00 in Stockholm, as the gateway would tell of it.
package lockgate.library.fixtures

decision := {
	"version": 1,
	"entry": "decision",
	"request": {
		"id": "r1",
		"method": "POST",
		"host": "halden.example",
		"path": "/north/ask",
		"path_parts": ["north", "ask"],
		"headers": {},
		"client": "192.0.2.7",
		"body": {"bytes": 12, "truncated": false, "problem": null},
		"time": {"ns": 1795856400000000000, "iso": "2026-11-28T09:00:00Z"},
	},
	"subject": {
		"id": "ada",
		"type": "user",
		"roles": ["clerk"],
		"groups": ["payments"],
		"tenant": "eu",
		"authenticated_by": "jwt",
		"claims": {"branch": "north", "clearance": 2},
	},
	"signals": {"findings": {}, "unknown": [], "text_chars": 12},
	"classification": {
		"status": "classified",
		"intent": "pay",
		"confidence": 0.95,
		"tier": "encoder",
		"prediction_set": ["pay"],
		"novelty": 0.1,
		"injection": 0.01,
		"reason": "",
	},
	"risk": {"level": "low", "score": 0.1, "contributions": {}},
	"intent": {"name": "pay", "owner": "", "risk": "low", "tags": []},
	"route": {"name": "bank.ask", "destination": "bank"},
	"routes": {
		"bank.ask": offer(3),
		"bank.cheap": offer(1),
	},
}

offer(cost) := {
	"destination": "bank",
	"cost": cost,
	"sla": {"latency_ms": 500, "availability": null},
	"usable": true,
	"recent": {"failed": 0, "latency_p95_ms": 40},
}

skipped := changed({"classification": {"status": "skipped", "intent": null, "confidence": null}, "intent": null})

abstained := changed({"classification": {"status": "ambiguous", "intent": null}, "intent": null, "route": null})

review := {"reviewers": ["manager"], "quorum": 1, "expires": "4h"}

# METADATA
# description: The decision document with some values replaced, at any depth.
changed(values) := object.union(decision, values)

codes(reasons) := {reason.code | some reason in reasons}
