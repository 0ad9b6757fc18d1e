# METADATA
# title: Personal data
# description: Where a destination or tenant is marked, personal data is masked in what is passed on.
package lockgate.rules.signals.pii

obligations contains {"name": "mask_body", "params": {}} if {
	marked(input)
	personal(input.signals.findings, input.signals.unknown)
}

marked(seen) if seen.route.destination in data.lockgate.config.signals.mask.destinations

marked(seen) if seen.subject.tenant in data.lockgate.config.signals.mask.tenants

personal(findings, _) if {
	some name, _ in findings
	startswith(name, "pii.")
}

personal(_, unknown) if "pii" in unknown
