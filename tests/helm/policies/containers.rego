package lockgate.release

import data.lockgate.manifests
import rego.v1

security(container) := object.get(container, "securityContext", {})

violation contains {"code": "root", "where": where} if {
	some [where, container, spec] in manifests.containers
	not runs_as_somebody(container, spec)
}

runs_as_somebody(container, spec) if {
	security(container).runAsNonRoot == true
	object.get(security(container), "runAsUser", spec.securityContext.runAsUser) > 0
}

# What is injected beside a container, such as Vault's agent, takes the container's own user and denies the pod where only the pod has one.
violation contains {"code": "no_user_of_its_own", "where": sprintf("%s %s", [where, key])} if {
	some [where, container, _] in manifests.containers
	some key in ["runAsUser", "runAsGroup"]
	object.get(security(container), key, null) == null
}

violation contains {"code": "writable_root", "where": where} if {
	some [where, container, _] in manifests.containers
	object.get(security(container), "readOnlyRootFilesystem", false) != true
}

violation contains {"code": "escalation", "where": where} if {
	some [where, container, _] in manifests.containers
	object.get(security(container), "allowPrivilegeEscalation", true) != false
}

violation contains {"code": "privileged", "where": where} if {
	some [where, container, _] in manifests.containers
	object.get(security(container), "privileged", false) != false
}

violation contains {"code": "capabilities", "where": where} if {
	some [where, container, _] in manifests.containers
	object.get(security(container), ["capabilities", "drop"], []) != ["ALL"]
}

violation contains {"code": "capabilities", "where": where} if {
	some [where, container, _] in manifests.containers
	count(object.get(security(container), ["capabilities", "add"], [])) > 0
}

violation contains {"code": "seccomp", "where": where} if {
	some [where, container, _] in manifests.containers
	object.get(security(container), ["seccompProfile", "type"], "") != "RuntimeDefault"
}

violation contains {"code": "unlimited", "where": sprintf("%s %s.%s", [where, kind, resource])} if {
	some [where, container, _] in manifests.containers
	some kind in ["requests", "limits"]
	some resource in ["cpu", "memory"]
	object.get(container, ["resources", kind, resource], "") == ""
}

violation contains {"code": "floating_image", "where": where} if {
	some [where, container, _] in manifests.containers
	not pinned(object.get(container, "image", ""))
}

pinned(image) if regex.match(`@sha256:[0-9a-f]{64}$`, image)

pinned(image) if {
	regex.match(`:[A-Za-z0-9_][-.A-Za-z0-9_]*$`, image)
	not endswith(image, ":latest")
}

violation contains {"code": "unprobed", "where": where} if {
	some [where, container, _] in manifests.containers
	not startswith(where, "Job/")
	not container.livenessProbe
}

violation contains {"code": "unprobed", "where": where} if {
	some [where, container, _] in manifests.containers
	container.name == "lockgate"
	not container.readinessProbe
}
