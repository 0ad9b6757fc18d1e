# METADATA
# title: Reviewers stay within their tenant
# description: A reviewer who belongs to a tenant decides about its requests only; one who belongs to none, about any.
package lockgate.rules.reviewing.tenant

import data.lockgate.lib.violation

deny contains violation.reason("review.tenant_mismatch", "the request is of a tenant to which the reviewer does not belong") if {
	is_string(input.reviewer.tenant)
	not same(input)
}

same(seen) if seen.review.tenant == seen.reviewer.tenant
