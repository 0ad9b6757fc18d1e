package lockgate.library.source_address_test

import data.lockgate.library.fixtures
import data.lockgate.library.source_address

settings := {
	"allowed": ["192.0.2.0/24", "2001:db8::/32"],
	"refused": ["192.0.2.66/32"],
	"tenants": {"us": {"allowed": ["192.0.2.128/25"]}},
	"roles": {"admin": {"refused": ["2001:db8:9::/48"], "allowed": ["192.0.2.0/28", "2001:db8:9::/48"]}},
}

everyone := {"tenants": {"*": {"allowed": ["192.0.2.0/24"]}}}

under(config, changes) := fixtures.codes(found) if {
	found := source_address.deny_at_admission with input as fixtures.changed(changes) with data.lockgate.config as config
}

codes(changes) := under({"source_address": settings}, changes)

from(client) := codes({"request": {"client": client}})

test_a_network_that_is_allowed if from("192.0.2.7") == set()

test_one_of_ipv6 if from("2001:db8::7") == set()

test_an_ipv4_address_as_a_socket_for_both_has_it if from("::ffff:192.0.2.7") == set()

test_another_network if from("198.51.100.7") == {"source.outside"}

test_a_network_that_is_refused if from("192.0.2.66") == {"source.refused"}

test_no_address if from("") == {"source.unknown"}

test_what_is_no_address if from("unknown") == {"source.unknown"}

test_an_address_that_is_not_there if from(null) == {"source.unknown"}

test_a_tenant_has_its_own_networks_beside_those_of_all if {
	codes({"subject": {"tenant": "us"}}) == {"source.outside"}
	codes({"subject": {"tenant": "us"}, "request": {"client": "192.0.2.200"}}) == set()
}

test_a_role_has_its_own_too if {
	codes({"subject": {"roles": ["clerk", "admin"]}}) == set()
	codes({"subject": {"roles": ["clerk", "admin"]}, "request": {"client": "192.0.2.17"}}) == {"source.outside"}
	codes({"subject": {"roles": ["admin"]}, "request": {"client": "2001:db8:9::1"}}) == {"source.refused"}
}

test_a_caller_of_no_tenant_is_refused if codes({"subject": {"tenant": null}}) == {"request.incomplete"}

test_other_tenants_and_none_have_the_common_ones if {
	under({"source_address": everyone}, {"subject": {"tenant": null}}) == set()
	under({"source_address": everyone}, {"request": {"client": "198.51.100.7"}}) == {"source.outside"}
}

test_roles_that_are_not_known if codes({"subject": {"roles": null}}) == {"request.incomplete"}

test_where_nothing_applies_no_address_is_needed if {
	under({"source_address": {"roles": settings.roles}}, {"request": {"client": ""}}) == set()
}

test_settings_that_cannot_be_read if {
	under({"source_address": {"roles": {"clerk": {"allowed": "192.0.2.0/24"}}}}, {}) == {"source.unset"}
	under({"source_address": {"roles": {"clerk": {"alowed": ["192.0.2.0/24"]}}}}, {}) == {"source.unset"}
	under({"source_address": {"roles": {"clerk": null}}}, {}) == {"source.unset"}
	under({"source_address": {"tenants": "eu"}}, {}) == {"source.unset"}
	under({"source_address": {"allowed": null}}, {}) == {"source.unset"}
}

test_without_settings_everything_is_refused if {
	under({}, {}) == {"source.unset"}
	under({"source_address": {}}, {}) == {"source.unset"}
}
