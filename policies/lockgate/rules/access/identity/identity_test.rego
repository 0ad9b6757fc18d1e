package lockgate.rules.access.identity_test

import data.lockgate.lib.fixtures
import data.lockgate.rules.access.identity

test_a_caller_with_a_credential_passes if {
	found := identity.deny with input as fixtures.decision with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_a_caller_with_a_credential_is_admitted_for_it if {
	found := identity.allow with input as fixtures.decision with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"access.identified"}
}

test_a_subject_that_a_trusted_service_names_passes if {
	found := identity.deny with input as fixtures.changed({"subject": {"authenticated_by": "delegated"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_the_holder_of_a_certificate_passes if {
	found := identity.deny with input as fixtures.changed({"subject": {"authenticated_by": "certificate"}}) with data.lockgate.config as fixtures.config
	count(found) == 0
}

test_who_a_source_of_events_speaks_for_passes if {
	every way in ["signature", "broker"] {
		found := identity.deny with input as fixtures.changed({"subject": {"authenticated_by": way}}) with data.lockgate.config as fixtures.config
		count(found) == 0
	}
}

test_a_way_of_authenticating_that_nobody_knows_is_refused if {
	found := identity.deny with input as fixtures.changed({"subject": {"authenticated_by": "rumour"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"access.anonymous"}
}

test_an_anonymous_caller_is_refused if {
	found := identity.deny with input as fixtures.changed({"subject": {"authenticated_by": "none"}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"access.anonymous"}
}

test_an_anonymous_caller_may_be_let_in if {
	found := identity.allow with input as fixtures.changed({"subject": {"authenticated_by": "none"}}) with data.lockgate.config as {"access": {"anonymous": true}}
	{code | some each in found; code := each.code} == {"access.open"}
}

test_a_caller_without_an_id_is_refused if {
	found := identity.deny with input as fixtures.changed({"subject": {"id": ""}}) with data.lockgate.config as fixtures.config
	{code | some each in found; code := each.code} == {"access.anonymous"}
}

test_no_settings_let_nobody_in if {
	found := identity.deny with input as fixtures.changed({"subject": {"authenticated_by": "none"}}) with data.lockgate.config as {}
	{code | some each in found; code := each.code} == {"access.anonymous"}
}
