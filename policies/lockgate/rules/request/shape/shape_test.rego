package lockgate.rules.request.shape_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.request.shape

test_an_ordinary_request_passes if {
	found := shape.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_method_that_is_not_listed_is_refused if {
	found := shape.deny with input as fixtures.changed({"request": {"method": "TRACE"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.method"}
}

test_a_body_that_cannot_be_read_is_refused if {
	found := shape.deny with input as fixtures.changed({"request": {"body": {"problem": "malformed_json"}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.body_unreadable"}
}

test_other_problems_are_left_to_the_decision if {
	found := shape.deny with input as fixtures.changed({"request": {"body": {"problem": "text_too_long"}}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_body_that_was_not_seen_whole_is_refused if {
	found := shape.deny with input as fixtures.changed({"request": {"body": {"truncated": true}}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.body_truncated"}
}

test_large_bodies_may_go_to_their_paths if {
	found := shape.deny with input as fixtures.changed({"request": {"body": {"truncated": true}, "path_parts": ["uploads", "x"]}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_no_settings_serve_no_method if {
	found := shape.deny with input as fixtures.decision with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"request.method"}
}

test_a_request_without_a_host_is_refused if {
	found := shape.deny with input as fixtures.changed({"request": {"host": null}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.incomplete"}
}

test_a_request_without_headers_is_refused if {
	found := shape.deny with input as fixtures.changed({"request": {"headers": null}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"request.incomplete"}
}
