package lockgate.release

import data.lockgate.manifests
import rego.v1

# Values travel in history and in logs: what is secret is referred to.
violation contains {"code": "secret_inside", "where": manifests.name(manifest)} if {
	some manifest in input.manifests
	manifest.kind == "Secret"
}

may_be_several(manifest) if object.get(manifest.spec, "replicas", 1) > 1

may_be_several(manifest) if {
	some scaler in input.manifests
	scaler.kind == "HorizontalPodAutoscaler"
	scaler.spec.scaleTargetRef.name == manifest.metadata.name
}

selects(selector, manifest) if {
	count(selector) > 0
	labels := manifest.spec.template.metadata.labels
	every key, value in selector {
		labels[key] == value
	}
}

violation contains {"code": "no_pdb", "where": manifests.name(manifest)} if {
	some manifest in manifests.workloads
	may_be_several(manifest)
	not kept_up(manifest)
}

kept_up(manifest) if {
	some budget in input.manifests
	budget.kind == "PodDisruptionBudget"
	selects(budget.spec.selector.matchLabels, manifest)
}

violation contains {"code": "no_spread", "where": manifests.name(manifest)} if {
	some manifest in manifests.workloads
	may_be_several(manifest)
	count(object.get(manifest.spec.template.spec, "topologySpreadConstraints", [])) == 0
}

violation contains {"code": "no_network_policy", "where": manifests.name(manifest)} if {
	some manifest in manifests.workloads
	not fenced(manifest)
}

fenced(manifest) if {
	some policy in input.manifests
	policy.kind == "NetworkPolicy"
	selects(policy.spec.podSelector.matchLabels, manifest)
	policy.spec.policyTypes == ["Ingress", "Egress"]
}

# A rule without peers, or with an empty list of them, is about everybody.
violation contains {"code": "open_network", "where": sprintf("%s %s", [manifests.name(policy), direction])} if {
	some policy in input.manifests
	policy.kind == "NetworkPolicy"
	some [direction, side] in [["ingress", "from"], ["egress", "to"]]
	some rule in object.get(policy.spec, direction, [])
	count(object.get(rule, side, [])) == 0
}

violation contains {"code": "open_network", "where": sprintf("%s %s ports", [manifests.name(policy), direction])} if {
	some policy in input.manifests
	policy.kind == "NetworkPolicy"
	some direction in ["ingress", "egress"]
	some rule in object.get(policy.spec, direction, [])
	count(object.get(rule, "ports", [])) == 0
}

violation contains {"code": "fails_open", "where": manifests.name(manifest)} if {
	some manifest in input.manifests
	manifest.kind == "EnvoyExtensionPolicy"
	some processor in manifest.spec.extProc
	object.get(processor, "failOpen", true) != false
}

violation contains {"code": "fails_open", "where": manifests.name(manifest)} if {
	some manifest in input.manifests
	manifest.kind == "SecurityPolicy"
	object.get(manifest.spec.extAuth, "failOpen", true) != false
}
