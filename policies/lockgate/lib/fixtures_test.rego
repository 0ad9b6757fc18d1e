# METADATA
# title: What the tests decide on
# description: A request that every rule lets pass, and the settings under which it does.
package lockgate.lib.fixtures

decision := {
	"version": 1,
	"entry": "decision",
	"request": {"id": "r1", "method": "POST", "host": "halden.example", "path": "/ask", "path_parts": ["ask"], "headers": {}, "body": body},
	"subject": {"id": "ada", "type": "user", "roles": ["clerk"], "groups": [], "tenant": "eu", "authenticated_by": "jwt", "claims": {}},
	"signals": {"findings": {}, "unknown": [], "text_chars": 12},
	"classification": {"status": "classified", "intent": "pay", "confidence": 0.95, "reason": ""},
	"risk": {"level": "low", "score": 0.1, "contributions": {}},
	"intent": {"name": "pay", "owner": "", "risk": "low", "tags": []},
	"route": {"name": "bank.ask", "destination": "bank"},
}

body := {"bytes": 12, "truncated": false, "problem": null}

skipped := changed({
	"classification": {"status": "skipped", "intent": null, "confidence": null},
	"intent": null,
})

abstained := changed({
	"classification": {"status": "ambiguous", "intent": null, "confidence": 0.4},
	"intent": null,
	"route": null,
})

fallback := changed({
	"classification": {"status": "ambiguous", "intent": null, "confidence": 0.4},
	"intent": null,
})

# METADATA
# description: The decision document with some values replaced, at any depth.
changed(values) := object.union(decision, values)

# METADATA
# description: An attempt at a held request against which nothing speaks.
attempt := {
	"version": 1,
	"entry": "review",
	"attempt": {"kind": "approve", "route": null, "time": {"ns": 1}},
	"reviewer": {
		"key": "k-rita",
		"id": "rita",
		"type": "user",
		"roles": ["manager"],
		"groups": [],
		"tenant": null,
		"authenticated_by": "api_key",
		"acting": [],
	},
	"requester": {"key": "k-ada", "id": "ada", "acting": []},
	"approvals": [],
	"review": {
		"id": "d1",
		"state": "pending",
		"intent": "pay",
		"risk": "high",
		"route": "bank.ask",
		"destination": "bank",
		"tenant": "eu",
		"reasons": ["risk.high"],
		"reviewers": ["manager"],
		"each_of": [],
		"quorum": 1,
		"level": 0,
		"levels": [],
		"round": 0,
		"claimant": "",
		"information": 0,
	},
}

# METADATA
# description: The attempt with some values replaced, at any depth.
attempted(values) := object.union(attempt, values)

config := {
	"request": {"methods": ["GET", "POST"], "refused_problems": ["malformed_json"], "large_bodies": ["uploads"]},
	"tenant": {"required": true, "known": ["eu", "us"], "header": "x-tenant", "hosts": {"us.halden.example": "us"}},
	"access": {
		"anonymous": false,
		"intents": {"pay": {"clerk": ["eu"], "auditor": ["*"]}},
		"risks": {"low": {"employee": ["*"]}},
		"routes": {"bank.ask": {"clerk": ["eu"]}},
	},
	"confidence": {
		"intents": {"pay": 0.8},
		"risks": {"low": 0.5},
		"abstained": {"ambiguous": ["bank.ask"]},
	},
	"signals": {
		"injection": {"review": 0.4, "deny": 0.8},
		"tolerated_secrets": ["secret.jwt"],
		"uninspected_routes": ["bank.upload"],
		"mask": {"destinations": ["itdesk"], "tenants": ["us"]},
	},
	"review": {
		"privileged": ["clerk"],
		"levels": {
			"high": {"quorum": 1, "expires": "24h"},
			"critical": {"quorum": 2, "expires": "8h"},
			"other": {"quorum": 1, "expires": "4h"},
		},
		"exempt": {"pay": ["manager"], "alarm": ["*"]},
		"reviewers": {"otherwise": ["manager"], "destinations": {"bank": ["treasurer"]}},
	},
}
