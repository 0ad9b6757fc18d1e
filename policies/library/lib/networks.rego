# METADATA
# title: Addresses and networks
# description: |
#   Functions. What cannot be read has no value, so that nothing holds by it. Engines do not agree on an IPv4 address within IPv6, nor on an
#   octet that begins with 0; so an address is looked at before anything is asked about it.
package lockgate.lib.networks

# METADATA
# description: |
#   The address, as both engines read it. `::ffff:10.1.2.3`, which a socket for both kinds has for an IPv4 address, is that address. What has
#   a port, brackets or a zone is none.
address(text) := text if {
	four(text)
} else := inner if {
	regex.match(`^::[Ff]{4}:`, text)
	inner := substring(text, 7, -1)
	four(inner)
} else := text if {
	six(text)
	not four_within_six(text)
}

# METADATA
# description: Whether it is in one of them. Without a value unless every one can be read.
within(networks, address) := count([found | some found in answers; found]) > 0 if {
	is_array(networks)
	answers := [found | some network in networks; found := net.cidr_contains(network, address)]
	count(answers) == count(networks)
}

four(text) if {
	regex.match(`^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$`, text)
}

six(text) if regex.match(`^([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}$`, text)

# Where `::` stands for groups of zeros there are seven others at most.
six(text) if {
	regex.match(`^([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?::([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?$`, text)
	count([group | some group in split(text, ":"); group != ""]) < 8
}

four_within_six(text) if net.cidr_contains("::ffff:0:0/96", text)
