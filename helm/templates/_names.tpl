{{- define "lockgate.name" -}}{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}{{- end }}

{{- define "lockgate.fullname" -}}
{{- $name := include "lockgate.name" . -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}{{- end -}}
{{- end }}

{{- define "lockgate.selector" -}}
app.kubernetes.io/name: {{ include "lockgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end }}

{{- define "lockgate.labels" -}}
{{ include "lockgate.selector" . }}
{{ include "lockgate.common" . }}
{{- end }}

{{- define "lockgate.common" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* metadata of everything that belongs to the nodes */}}
{{- define "lockgate.metadata" -}}
name: {{ include "lockgate.fullname" . }}
namespace: {{ .Release.Namespace }}
labels: {{- include "lockgate.labels" . | nindent 2 }}
{{- end }}

{{- define "lockgate.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}
{{- else -}}{{ $image.repository }}:{{ default .version $image.tag }}{{- end -}}
{{- end }}

{{- define "lockgate.secretName" -}}
{{- if eq .Values.secrets.source "existing" -}}{{ .Values.secrets.existing.name }}
{{- else if eq .Values.secrets.source "externalSecret" -}}{{ include "lockgate.fullname" . }}-secrets{{- end -}}
{{- end }}

{{- define "lockgate.tlsSecret" -}}
{{- if eq .Values.tls.source "secret" -}}{{ .Values.tls.secretName }}
{{- else if eq .Values.tls.source "certManager" -}}{{ include "lockgate.fullname" . }}-tls{{- end -}}
{{- end }}

{{/* what is not empty where there may be several nodes, or one with a volume of its own */}}
{{- define "lockgate.several" -}}{{- if or (gt (int .Values.replicas) 1) .Values.hpa.enabled -}}yes{{- end -}}{{- end }}
{{- define "lockgate.stateful" -}}{{- if or (eq .Values.store.kind "sqlite") .Values.persistence.enabled -}}yes{{- end -}}{{- end }}
{{- define "lockgate.mounted" -}}{{- if ne .Values.workspace.source "image" -}}yes{{- end -}}{{- end }}

{{- define "lockgate.ports" -}}
{{- $v := .Values -}}
{{- if $v.gateway.enabled }}
- {name: gateway, port: {{ $v.gateway.port }}}
{{- end }}
{{- if $v.envoy.enabled }}
- {name: envoy, port: {{ $v.envoy.port }}}
{{- end }}
{{- if $v.decide.enabled }}
- {name: decide, port: {{ $v.decide.port }}}
{{- end }}
{{- if $v.events.enabled }}
- {name: events, port: {{ $v.events.port }}}
{{- end }}
{{- if $v.tiles.enabled }}
- {name: tiles, port: {{ $v.tiles.port }}}
{{- end }}
- {name: control, port: {{ $v.control.port }}}
{{- end }}

{{/* What else listens in the pod. */}}
{{- define "lockgate.besidePorts" -}}
{{- if eq .Values.control.clientCertificates "required" }}
- {name: probes, port: {{ .Values.control.probesPort }}}
{{- end }}
{{- if .Values.opa.enabled }}
- {name: OPA, port: 8181}
- {name: the health of OPA, port: 8282}
{{- end }}
{{- end }}

{{/* Doors of the main Service: its name is that of the release. */}}
{{- define "lockgate.served" -}}
{{- $v := .Values -}}
{{- if or $v.gateway.enabled $v.decide.enabled $v.events.enabled $v.tiles.enabled -}}yes{{- end -}}
{{- end }}

{{/* Names of the Services, by all of which a certificate is asked for. */}}
{{- define "lockgate.services" -}}
{{- $name := include "lockgate.fullname" . }}
- {{ $name }}-nodes
{{- if include "lockgate.served" . }}
- {{ $name }}
{{- end }}
{{- if .Values.envoy.enabled }}
- {{ $name }}-envoy
{{- end }}
{{- end }}

{{- define "lockgate.migrationLabels" -}}
app.kubernetes.io/name: {{ include "lockgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: migration
{{- end }}

{{- define "lockgate.egress" -}}
{{- with .Values.networkPolicy.dns }}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  to: {{- toYaml . | nindent 4 }}
{{- end }}
{{- with .Values.networkPolicy.postgres }}
- ports: [{port: {{ $.Values.networkPolicy.postgresPort }}, protocol: TCP}]
  to: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* A duration of Lockgate's or Go's in milliseconds, and as Gateway API writes it; empty where it is none, such as a ${VARIABLE}. */}}
{{- define "lockgate.millis" -}}
{{- if regexMatch "^([0-9]+([.][0-9]+)?(ms|s|m|h|d))+$" (toString .) -}}
  {{- $units := dict "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 "d" 86400000.0 -}}
  {{- $sum := 0.0 -}}
  {{- range regexFindAll "[0-9.]+[a-z]+" . -1 -}}
    {{- $sum = addf $sum (mulf (regexFind "[0-9.]+" . | float64) (get $units (regexFind "[a-z]+" .))) -}}
  {{- end -}}
  {{- round $sum 0 | int64 -}}
{{- end -}}
{{- end }}
{{- define "lockgate.duration" -}}
{{- with include "lockgate.millis" . -}}
  {{- $millis := max 1 (int64 .) -}}
  {{- if eq (mod $millis 1000) 0 -}}{{ div $millis 1000 }}s{{- else -}}{{ $millis }}ms{{- end -}}
{{- end -}}
{{- end }}

{{/* A size of Lockgate's in bytes, and as a quantity of Kubernetes'; empty where it is none. */}}
{{- define "lockgate.bytes" -}}
{{- if not (kindIs "string" .) -}}{{ int64 . }}
{{- else if regexMatch "^[0-9]+(B|KiB|MiB|GiB)?$" . -}}
  {{- $units := dict "" 1 "B" 1 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 -}}
  {{- mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[A-Za-z]*$" .)) -}}
{{- end -}}
{{- end }}
{{- define "lockgate.quantity" -}}
{{- with include "lockgate.bytes" . -}}
  {{- if eq (mod (int64 .) 1024) 0 -}}{{ div (int64 .) 1024 }}Ki{{- else -}}{{ . }}{{- end -}}
{{- end -}}
{{- end }}

{{/* What services read, and routes are chosen by: callers must not say it. */}}
{{- define "lockgate.ownFields" -}}
{{- range list "confidence" "decision-id" "destination" "intent" "risk" "roles" "route" "subject" "subject-type" "tenant" }}
- x-lockgate-{{ . }}
{{- end }}
{{- end }}

{{/* The Gateways, and listeners of them, that the policies for Envoy name. */}}
{{- define "lockgate.gateways" -}}
{{- $found := list -}}
{{- range $way := list .Values.gatewayApi.extProc .Values.gatewayApi.extAuth -}}
  {{- if $way.enabled -}}
    {{- range $way.targetRefs -}}{{- if eq (toString .kind) "Gateway" -}}{{- $found = append $found . -}}{{- end -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- toYaml (uniq $found) -}}
{{- end }}

{{/* Who cannot be connected to is left out at once, but never all, and a connection carries no more than it may: as `lockgate envoy config` writes it. */}}
{{- define "lockgate.towardsDoor" -}}
healthCheck:
  panicThreshold: 0
  passive: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutive5XxErrors: 0, baseEjectionTime: 5s, interval: 1s, maxEjectionPercent: 99}
{{- if eq (default dict .Values.config.envoy).server "zttp" }}
http2: {maxConcurrentStreams: 100}
{{- end }}
{{- end }}
