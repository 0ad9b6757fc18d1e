{{/* What every container may: nothing but compute and write where a volume is. The user stands here, too: Vault's injector gives its agents the
container's, and looks nowhere else. */}}
{{- define "lockgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lockgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lockgate.probe" -}}
{{- if eq .root.Values.control.clientCertificates "required" -}}
httpGet: {path: {{ .path }}, port: probes, scheme: HTTP}
{{- else -}}
httpGet: {path: {{ .path }}, port: control, scheme: {{ ternary "HTTP" "HTTPS" (eq .root.Values.tls.source "none") }}}
{{- end }}
{{- end }}

{{- define "lockgate.vaultAnnotations" -}}
vault.hashicorp.com/agent-inject: "true"
vault.hashicorp.com/role: {{ .Values.secrets.vault.role | quote }}
vault.hashicorp.com/secret-volume-path: /run/lockgate/secrets
vault.hashicorp.com/agent-service-account-token-volume-name: vault-token
vault.hashicorp.com/agent-run-as-same-user: "true"
vault.hashicorp.com/agent-inject-containers: lockgate
{{- range $file, $from := .Values.secrets.vault.files }}
vault.hashicorp.com/agent-inject-secret-{{ $file }}: {{ $from.secret | quote }}
{{- with $from.template }}
vault.hashicorp.com/agent-inject-template-{{ $file }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.secrets.vault.annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lockgate.secretVolumes" -}}
{{- $v := .Values -}}
{{- if include "lockgate.secretName" . }}
- name: secrets
  secret: {secretName: {{ include "lockgate.secretName" . }}, defaultMode: 0440}
{{- else if eq $v.secrets.source "csi" }}
- name: secrets
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: {secretProviderClass: {{ default (include "lockgate.fullname" .) $v.secrets.csi.className }}}
{{- else if eq $v.secrets.source "vault" }}
- name: vault-token
  projected:
    sources:
      - serviceAccountToken: {path: token, audience: {{ $v.secrets.vault.audience }}, expirationSeconds: 3600}
{{- end }}
{{- if include "lockgate.tlsSecret" . }}
- name: tls
  secret: {secretName: {{ include "lockgate.tlsSecret" . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "lockgate.variables" -}}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $key := .Values.secrets.env }}
- {name: {{ $name }}, valueFrom: {secretKeyRef: {name: {{ include "lockgate.secretName" $ }}, key: {{ $key }}}}}
{{- end }}
{{- end }}

{{- define "lockgate.container" -}}
{{- $v := .Values -}}
name: lockgate
image: {{ include "lockgate.image" (dict "image" $v.image "version" .Chart.AppVersion) }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args: [serve, --config, /etc/lockgate/lockgate.yaml, --log, json]
securityContext: {{- include "lockgate.containerSecurity" . | nindent 2 }}
env:
  - {name: LOCKGATE_NODE, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  # for commands in the container
  - {name: LOCKGATE_CONFIG, value: /etc/lockgate/lockgate.yaml}
  {{- if and (include "lockgate.tlsSecret" .) $v.tls.ca (not (or (hasKey $v.env "LOCKGATE_CONTROL_CA") (hasKey $v.secrets.env "LOCKGATE_CONTROL_CA"))) }}
  - {name: LOCKGATE_CONTROL_CA, value: /run/lockgate/tls/{{ $v.tls.ca }}}
  {{- end }}
  {{- include "lockgate.variables" . | nindent 2 }}
ports:
  {{- range include "lockgate.ports" . | fromYamlArray }}
  - {name: {{ .name }}, containerPort: {{ .port }}, protocol: TCP}
  {{- end }}
  {{- if eq $v.control.clientCertificates "required" }}
  - {name: probes, containerPort: {{ $v.control.probesPort }}, protocol: TCP}
  {{- end }}
resources: {{- toYaml $v.resources | nindent 2 }}
startupProbe:
  {{- include "lockgate.probe" (dict "root" . "path" "/healthz") | nindent 2 }}
  periodSeconds: 5
  failureThreshold: {{ div (add (int $v.probes.startupSeconds) 4) 5 }}
livenessProbe:
  {{- include "lockgate.probe" (dict "root" . "path" "/healthz") | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- include "lockgate.probe" (dict "root" . "path" "/readyz") | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
lifecycle:
  preStop: {sleep: {seconds: {{ $v.drain.preStopSeconds }}}}
volumeMounts:
  - {name: workspace, mountPath: /etc/lockgate, readOnly: true}
  - {name: state, mountPath: /var/lib/lockgate}
  - {name: tmp, mountPath: /tmp}
  {{- if has $v.secrets.source (list "existing" "externalSecret" "csi") }}
  - {name: secrets, mountPath: /run/lockgate/secrets, readOnly: true}
  {{- end }}
  {{- if include "lockgate.tlsSecret" . }}
  - {name: tls, mountPath: /run/lockgate/tls, readOnly: true}
  {{- end }}
  {{- with $v.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Listens on loopback, where only this pod asks it; its health is on a port of its own. A sidecar: it is there before the node starts, and
until the node has drained. */}}
{{- define "lockgate.opaContainer" -}}
name: opa
image: {{ include "lockgate.image" (dict "image" .Values.opa.image "version" "") }}
restartPolicy: Always
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  - run
  - --server
  - --addr=127.0.0.1:8181
  - --diagnostic-addr=0.0.0.0:8282
  - --disable-telemetry
  - --log-format=json
  {{- if .Values.opa.config }}
  - --config-file=/etc/opa/opa.yaml
  {{- end }}
securityContext: {{- include "lockgate.containerSecurity" . | nindent 2 }}
{{- with .Values.opa.secrets.env }}
env:
  {{- range $name, $key := . }}
  - {name: {{ $name }}, valueFrom: {secretKeyRef: {name: {{ $.Values.opa.secrets.name }}, key: {{ $key }}}}}
  {{- end }}
{{- end }}
ports:
  - {name: opa-health, containerPort: 8282, protocol: TCP}
resources: {{- toYaml .Values.opa.resources | nindent 2 }}
startupProbe:
  httpGet: {path: "/health?plugins&bundles", port: opa-health}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /health, port: opa-health}
  periodSeconds: 10
volumeMounts:
  - {name: opa-tmp, mountPath: /tmp}
  {{- if .Values.opa.config }}
  - {name: opa, mountPath: /etc/opa, readOnly: true}
  {{- end }}
  {{- if .Values.opa.secrets.name }}
  - {name: opa-secrets, mountPath: /run/opa/secrets, readOnly: true}
  {{- end }}
{{- end }}

{{- define "lockgate.pod" -}}
{{- $v := .Values -}}
metadata:
  labels:
    {{- include "lockgate.selector" . | nindent 4 }}
    {{- with $v.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    lockgate.example/restarts: {{ include "lockgate.restarts" . }}
    kubectl.kubernetes.io/default-container: lockgate
    {{- if eq $v.secrets.source "vault" }}{{ include "lockgate.vaultAnnotations" . | nindent 4 }}{{ end }}
    {{- with $v.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "lockgate.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $v.drain.terminationGracePeriodSeconds }}
  securityContext: {{- include "lockgate.podSecurity" . | nindent 4 }}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - {name: {{ . }}}
    {{- end }}
  {{- end }}
  {{- if $v.opa.enabled }}
  initContainers:
    - {{- include "lockgate.opaContainer" . | nindent 6 }}
  {{- end }}
  containers:
    - {{- include "lockgate.container" . | nindent 6 }}
  volumes:
    - {{- include "lockgate.workspaceVolume" (dict "root" . "config" (include "lockgate.fullname" .)) | nindent 6 }}
    - {name: tmp, emptyDir: {sizeLimit: {{ $v.scratch.tmp }}}}
    {{- if not (include "lockgate.stateful" .) }}
    {{- if $v.scratch.volume.enabled }}
    - name: state
      ephemeral:
        volumeClaimTemplate:
          metadata:
            labels: {{- include "lockgate.selector" . | nindent 14 }}
          spec:
            accessModes: [ReadWriteOnce]
            {{- with $v.scratch.volume.storageClassName }}
            storageClassName: {{ . }}
            {{- end }}
            resources: {requests: {storage: {{ $v.scratch.volume.size }}}}
    {{- else }}
    {{- /* No limit unless somebody wants one: all nodes' indexes grow alike, and the kubelet would end all of them together. */}}
    - {name: state, emptyDir: {{ ternary (dict "sizeLimit" $v.scratch.state) dict (not (empty $v.scratch.state)) | toJson }}}
    {{- end }}
    {{- end }}
    {{- include "lockgate.secretVolumes" . | nindent 4 }}
    {{- if $v.opa.enabled }}
    - {name: opa-tmp, emptyDir: {sizeLimit: {{ $v.scratch.tmp }}}}
    {{- if $v.opa.config }}
    - {name: opa, configMap: {name: {{ include "lockgate.fullname" . }}-opa}}
    {{- end }}
    {{- with $v.opa.secrets.name }}
    - {name: opa-secrets, secret: {secretName: {{ . }}, defaultMode: 0440}}
    {{- end }}
    {{- end }}
    {{- with $v.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if and (include "lockgate.several" .) $v.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $v.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels: {{- include "lockgate.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ ternary "controller-revision-hash" "pod-template-hash" (eq (include "lockgate.stateful" $) "yes") }}]
    {{- end }}
  {{- end }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
