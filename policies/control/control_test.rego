package lockgate.control_test

question(roles, scopes, permission) := {
	"principal": {"kind": "session", "roles": roles, "scopes": scopes, "tenant": null, "methods": [], "age_s": 0},
	"permission": permission,
	"method": "GET",
	"path": "/v1/keys",
	"tenant": null,
}

test_a_role_gives_its_permissions if {
	data.lockgate.control.result.effect == "allow" with input as question(["operator"], ["control"], "config.reload")
}

test_a_role_gives_no_others if {
	data.lockgate.control.result == {
		"effect": "deny",
		"reasons": [{"code": "permission_missing", "message": "no role and no scope gives the permission keys.write"}],
	} with input as question(["operator"], ["control"], "keys.write")
}

test_a_role_without_the_scope_gives_nothing if {
	data.lockgate.control.result.effect == "deny" with input as question(["admin"], ["gateway"], "metrics.read")
}

test_an_unknown_role_gives_nothing if {
	data.lockgate.control.result.effect == "deny" with input as question(["Admin", "root"], ["control"], "metrics.read")
}

test_a_single_scope_gives_that_permission_alone if {
	data.lockgate.control.result.effect == "allow" with input as question([], ["control:metrics.read"], "metrics.read")
	data.lockgate.control.result.effect == "deny" with input as question([], ["control:metrics.read"], "keys.read")
}

test_public_cannot_be_granted if {
	data.lockgate.control.result.effect == "deny" with input as question([], ["control:public"], "public")
}

test_what_is_no_question_has_no_answer if {
	count([effect | effect := data.lockgate.control.result.effect]) == 0 with input as {"permission": "keys.read"}
}
