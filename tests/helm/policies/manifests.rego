# What may be in a release of the chart. Each violation is {code, where}; `input.manifests` are the release's manifests.
package lockgate.manifests

import rego.v1

workload_kinds := {"Deployment", "StatefulSet", "Job"}

workloads contains manifest if {
	some manifest in input.manifests
	manifest.kind in workload_kinds
}

name(manifest) := sprintf("%s/%s", [manifest.kind, manifest.metadata.name])

pods contains [where, spec] if {
	some manifest in workloads
	where := name(manifest)
	spec := manifest.spec.template.spec
}

containers contains [sprintf("%s/%s", [where, container.name]), container, spec] if {
	some [where, spec] in pods
	some list in ["containers", "initContainers"]
	some container in object.get(spec, list, [])
}
