package lockgate.learning_test

import data.lockgate.learning

person(key, roles) := {"key": key, "roles": roles, "acting": [], "authenticated_by": "api_key"}

attempt(kind, approver, approvals) := {
	"attempt": {"kind": kind, "override": false},
	"approver": approver,
	"author": {"key": "ada", "acting": [], "authenticated_by": "api_key"},
	"approvals": approvals,
	"proposal": {"type": "threshold"},
}

codes contains reason.code if some reason in learning.result.reasons

settings(approvers, approval) := {"approvers": approvers, "approval": {"threshold": approval}}

test_another_person_approves if {
	answer := learning.result with input as attempt("approve", person("ben", []), [])
		with data.lockgate.config.learning as settings([], {})
	answer.effect == "allow"
	answer.complete
	answer.approvals == 1
}

test_the_author_does_not if {
	codes == {"proposal_own"} with input as attempt("approve", person("ada", []), [])
		with data.lockgate.config.learning as settings([], {})
}

test_nor_in_anybodys_name if {
	codes == {"proposal_own"} with input as attempt("approve", object.union(person("ben", []), {"acting": ["ada"]}), [])
		with data.lockgate.config.learning as settings([], {})
}

test_one_of_the_roles_is_needed if {
	codes == {"proposal_role_missing"} with input as attempt("approve", person("ben", ["clerk"]), [])
		with data.lockgate.config.learning as settings(["model_risk"], {})
}

test_two_are_needed_and_one_is_not_enough if {
	not learning.result.complete with input as attempt("approve", person("ben", []), [])
		with data.lockgate.config.learning as settings([], {"approvals": 2})
	codes == {"proposal_approvals_missing"} with input as attempt("roll_out", person("ben", []), [person("ben", [])])
		with data.lockgate.config.learning as settings([], {"approvals": 2})
}

test_each_role_by_another_person if {
	both := person("ben", ["risk", "owner"])
	config := settings([], {"each_of": ["risk", "owner"]})
	not learning.result.complete with input as attempt("approve", both, []) with data.lockgate.config.learning as config
	learning.result.complete with input as attempt("approve", both, [person("cleo", ["risk"])])
		with data.lockgate.config.learning as config
	not learning.result.complete with input as attempt("approve", person("dan", ["risk"]), [person("cleo", ["risk"])])
		with data.lockgate.config.learning as config
}

test_an_unknown_attempt_has_no_answer if {
	count([effect | effect := learning.result.effect]) == 0 with input as attempt("bless", person("ben", []), [])
		with data.lockgate.config.learning as settings([], {})
}
