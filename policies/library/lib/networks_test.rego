package lockgate.lib.networks_test

import data.lockgate.lib.networks

read(text) if networks.address(text) == text

has_address(text) if is_string(networks.address(text))

decided(listed, text) if is_boolean(networks.within(listed, text))

test_an_ipv4_address if read("10.1.2.3")

test_an_ipv6_address if read("2001:db8:0:1:2:3:4:5")

test_an_ipv6_address_with_a_gap if read("2001:db8::1")

test_a_gap_at_either_end if {
	read("::")
	read("1:2:3:4:5:6:7::")
}

test_a_gap_that_stands_for_nothing if not has_address("1:2:3:4::5:6:7:8")

test_an_ipv4_address_as_a_socket_for_both_has_it if networks.address("::ffff:10.1.2.3") == "10.1.2.3"

test_an_ipv4_address_within_ipv6_otherwise if not has_address("::ffff:a01:203")

test_an_octet_that_begins_with_0 if not has_address("010.1.2.3")

test_a_port if not has_address("10.1.2.3:80")

test_a_zone if not has_address("fe80::1%eth0")

test_a_text_of_nothing if not has_address("")

test_within_one_of_several if networks.within(["192.0.2.0/24", "2001:db8::/32"], "2001:db8::1") == true

test_within_none if networks.within(["192.0.2.0/24", "2001:db8::/32"], "198.51.100.1") == false

test_within_no_networks if networks.within([], "198.51.100.1") == false

test_what_is_no_list_decides_nothing if not decided("192.0.2.0/24", "192.0.2.1")
