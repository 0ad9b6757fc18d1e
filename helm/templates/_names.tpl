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
- {name: control, port: {{ $v.control.port }}}
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
