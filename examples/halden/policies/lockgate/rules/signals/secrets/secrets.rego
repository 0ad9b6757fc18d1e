# METADATA
# title: Credentials
# description: A request that holds a password, key or token is refused, so that it is not passed on and kept.
package lockgate.rules.signals.secrets

import data.lockgate.lib.violation

deny contains violation.reason("signals.secret", sprintf("the request holds a credential (%s)", [name])) if {
	some name, _ in input.signals.findings
	startswith(name, "secret.")
	not tolerated(name)
}

tolerated(name) if name in data.lockgate.config.signals.tolerated_secrets
