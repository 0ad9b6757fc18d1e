package lockgate.release

import data.lockgate.manifests
import rego.v1

violation contains {"code": "token", "where": where} if {
	some [where, spec] in manifests.pods
	object.get(spec, "automountServiceAccountToken", true) != false
}

violation contains {"code": "token", "where": manifests.name(manifest)} if {
	some manifest in input.manifests
	manifest.kind == "ServiceAccount"
	object.get(manifest, "automountServiceAccountToken", true) != false
}

violation contains {"code": "host", "where": sprintf("%s %s", [where, key])} if {
	some [where, spec] in manifests.pods
	some key in ["hostNetwork", "hostPID", "hostIPC"]
	object.get(spec, key, false) != false
}

violation contains {"code": "host", "where": sprintf("%s %s", [where, volume.name])} if {
	some [where, spec] in manifests.pods
	some volume in spec.volumes
	volume.hostPath
}

# The state is not bounded: what is in it grows with the ledger, in all nodes alike, and the kubelet would evict them together.
violation contains {"code": "unbounded_scratch", "where": sprintf("%s %s", [where, volume.name])} if {
	some [where, spec] in manifests.pods
	some volume in spec.volumes
	object.get(volume, "emptyDir", null) != null
	volume.name != "state"
	not volume.emptyDir.sizeLimit
}

violation contains {"code": "evicted_together", "where": sprintf("%s %s", [where, volume.name])} if {
	some [where, spec] in manifests.pods
	not startswith(where, "Job/")
	some volume in spec.volumes
	volume.name == "state"
	volume.emptyDir.sizeLimit
}

# A Secret or a ConfigMap is mounted to be read.
violation contains {"code": "writable_mount", "where": sprintf("%s %s", [where, mount.name])} if {
	some [where, container, spec] in manifests.containers
	some mount in container.volumeMounts
	some volume in spec.volumes
	volume.name == mount.name
	some kind in ["secret", "configMap", "projected", "csi"]
	object.get(volume, kind, null) != null
	object.get(mount, "readOnly", false) != true
}

# What a node needs to stop, whatever hangs: STOP_S in router/processes/stopping.py.
violation contains {"code": "short_grace", "where": where} if {
	some [where, container, spec] in manifests.containers
	container.name == "lockgate"
	spec.terminationGracePeriodSeconds < container.lifecycle.preStop.sleep.seconds + 65
}

violation contains {"code": "no_prestop", "where": where} if {
	some [where, container, _] in manifests.containers
	container.name == "lockgate"
	not container.lifecycle.preStop.sleep.seconds
}
