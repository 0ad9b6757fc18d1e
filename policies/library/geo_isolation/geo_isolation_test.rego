package lockgate.library.geo_isolation_test

import data.lockgate.library.fixtures
import data.lockgate.library.geo_isolation

settings := {
	"tenants": {"eu": "europe", "us": "america"},
	"destinations": {"bank": ["europe"], "crm": ["america", "europe"]},
	"hosts": {"us.halden.example": "america"},
	"everywhere": ["status"],
}

codes(changes) := fixtures.codes(found) if {
	found := geo_isolation.deny with input as fixtures.changed(changes) with data.lockgate.config as {"geo_isolation": settings}
}

test_within_the_region_it_passes if codes({}) == set()

test_a_destination_of_several_regions if codes({"subject": {"tenant": "us"}, "route": {"destination": "crm"}}) == set()

test_another_region if codes({"subject": {"tenant": "us"}}) == {"geo.destination_elsewhere"}

test_a_destination_of_no_region if codes({"route": {"destination": "new"}}) == {"geo.destination_elsewhere"}

test_a_tenant_of_no_region if codes({"subject": {"tenant": "new"}}) == {"geo.tenant_unplaced"}

test_no_tenant if codes({"subject": {"tenant": null}}) == {"geo.tenant_unplaced"}

test_a_host_of_another_region if codes({"request": {"host": "us.halden.example"}}) == {"geo.host_elsewhere"}

test_a_host_of_the_region if {
	codes({"request": {"host": "us.halden.example"}, "subject": {"tenant": "us"}, "route": {"destination": "crm"}}) == set()
}

test_a_host_that_is_not_known if codes({"request": {"host": null}}) == {"geo.host_elsewhere"}

test_what_holds_nothing_is_everywhere if codes({"subject": {"tenant": null}, "route": {"destination": "status"}}) == set()

test_what_goes_nowhere_leaves_no_region if {
	found := geo_isolation.deny with input as fixtures.abstained with data.lockgate.config as {"geo_isolation": settings}
	found == set()
}

test_without_settings_everything_is_refused if {
	found := geo_isolation.deny with input as fixtures.decision with data.lockgate.config as {}
	fixtures.codes(found) == {"geo.unset"}
}
