# METADATA
# title: Personal data
# description: Where a destination or tenant is marked, personal data is masked in what is passed on.
package lockgate.rules.signals.pii

obligations contains {"name": "mask_body", "params": {}} if {
	marked(input)
	personal(input.signals)
}

marked(seen) if seen.route.destination in data.lockgate.config.signals.mask.destinations

marked(seen) if seen.subject.tenant in data.lockgate.config.signals.mask.tenants

personal(signals) if {
	some name, _ in signals.findings
	startswith(name, "pii.")
}

personal(signals) if "pii" in signals.unknown
