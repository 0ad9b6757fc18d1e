{{/* lockgate.yaml: what `config` says, and what only the chart can know. */}}
{{- define "lockgate.configuration" -}}
{{- $v := .Values -}}
{{- $secrets := "/run/lockgate/secrets" -}}
{{- $tls := dict "certificate" "/run/lockgate/tls/tls.crt" "key" "/run/lockgate/tls/tls.key" -}}
{{- $c := mergeOverwrite (dict "version" 1 "state" "/var/lib/lockgate/state" "workers" (int $v.workers)) (deepCopy $v.config) -}}
{{- if not (include "lockgate.mounted" .) -}}
  {{- $_ := set $c "catalog" (printf "%s/%s" $v.workspace.path (default "catalog.yaml" $c.catalog)) -}}
  {{- $policy := default dict $c.policy -}}
  {{- $_ := set $c "policy" (set $policy "path" (printf "%s/%s" $v.workspace.path (default "policies" $policy.path))) -}}
{{- end -}}
{{- $gateway := default dict $c.gateway -}}
{{- $_ := set $c "gateway" (set $gateway "listen" (ternary (printf "0.0.0.0:%d" (int $v.gateway.port)) nil $v.gateway.enabled)) -}}
{{- $decide := set (default dict $c.decide) "listen" (printf "0.0.0.0:%d" (int $v.decide.port)) -}}
{{- $_ := set $c "decide" (ternary $decide nil $v.decide.enabled) -}}
{{- $control := set (default dict $c.control) "listen" (printf "0.0.0.0:%d" (int $v.control.port)) -}}
{{- $asking := $tls -}}
{{- if ne $v.control.clientCertificates "none" -}}
  {{- $asking = merge (dict "client_ca" (printf "/run/lockgate/tls/%s" $v.control.clientCa) "client_certificates" $v.control.clientCertificates) $tls -}}
{{- end -}}
{{- $_ := set $c "control" (mergeOverwrite $control (ternary (dict "insecure" true) (dict "tls" $asking) (eq $v.tls.source "none"))) -}}
{{- if eq $v.control.clientCertificates "required" -}}{{- $_ := set $c.control "probes" (printf "0.0.0.0:%d" (int $v.control.probesPort)) -}}{{- end -}}
{{- if $v.envoy.enabled -}}
  {{- $door := set (default dict $c.envoy) "listen" (printf "0.0.0.0:%d" (int $v.envoy.port)) -}}
  {{- if eq $v.tls.source "none" -}}{{- $_ := set $door "insecure" true -}}
  {{- else -}}
    {{- $_ := set $door "tls" (ternary (merge (dict "client_ca" "/run/lockgate/tls/ca.crt" "client_certificates" "required") $tls) $tls $v.tls.clientCa) -}}
  {{- end -}}
  {{- $_ := set $c "envoy" $door -}}
{{- end -}}
{{- with $c.events -}}
  {{- $_ := set $c "events" (set . "listen" (ternary (printf "0.0.0.0:%d" (int $v.events.port)) nil $v.events.enabled)) -}}
{{- end -}}
{{- $audit := default dict $c.audit -}}
{{- if $v.tiles.enabled -}}
  {{- $tiles := set (default dict $audit.tiles) "listen" (printf "0.0.0.0:%d" (int $v.tiles.port)) -}}
  {{- if ne $v.tls.source "none" -}}{{- $tiles = merge $tiles (dict "tls" $tls) -}}
  {{- else if not $tiles.public -}}{{- $_ := set $tiles "insecure" true -}}{{- end -}}
  {{- $_ := set $audit "tiles" $tiles -}}
{{- end -}}
{{- if and (ne $v.secrets.source "none") $v.secrets.keys -}}
  {{- /* Each whole: where `config` has one elsewhere, such as in a vault, the file is not beside it. */}}
  {{- range $name, $file := dict "key" "ledger.key" "sealing_key" "sealing.key" -}}
    {{- if not (get $audit $name) }}{{- $_ := set $audit $name (dict "file" (printf "%s/%s" $secrets $file)) -}}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if eq $v.store.kind "postgres" -}}
  {{- $store := dict "adapter" "postgres" "url" (dict "file" (printf "%s/ledger-url" $secrets)) -}}
  {{- $_ := set $store "keys" (dict "file" (printf "%s/%s" $secrets (ternary "keys-url" "ledger-url" $v.store.postgres.separateKeys))) -}}
  {{- $_ := set $audit "store" (merge $store $v.store.postgres.settings) -}}
  {{- if $v.store.postgres.nodes -}}{{- $_ := set $c "nodes" (default dict $c.nodes) -}}{{- end -}}
{{- end -}}
{{- $_ := set $c "audit" $audit -}}
{{- if $v.opa.enabled -}}
  {{- $_ := set $c "policy" (set (default dict $c.policy) "engine" (dict "adapter" "opa" "url" "http://127.0.0.1:8181")) -}}
{{- end -}}
{{- toYaml $c -}}
{{- end }}

{{/* Of what a node takes up only at a start; everything else it takes up while it serves. */}}
{{- define "lockgate.restarts" -}}
{{- $c := include "lockgate.configuration" . | fromYaml -}}
{{- $gateway := pick $c.gateway "listen" "limits" "tls" -}}
{{- $bundle := pick (default dict (default dict $c.policy).bundle) "from" -}}
{{- $telemetry := pick (default dict $c.telemetry) "otlp" -}}
{{- $settings := merge (dict "gateway" $gateway "telemetry" $telemetry "bundle" $bundle) (pick $c "state" "decide" "control" "envoy" "audit" "nodes" "workers" "learning") -}}
{{- with $c.events -}}{{- $_ := set $settings "events" (pick . "listen" "tls") -}}{{- end -}}
{{- printf "%s %s" (toYaml $settings) (toYaml .Values.opa.config) | sha256sum -}}
{{- end }}

{{/* One ConfigMap's data: lockgate.yaml and, from values, the workspace; a path's slashes are `..` in its key. */}}
{{- define "lockgate.configData" -}}
lockgate.yaml: |
{{ include "lockgate.configuration" . | indent 2 }}
{{- if eq .Values.workspace.source "values" }}
{{- range $path, $content := .Values.workspace.files }}
{{- /* As it was written, to the last byte: what is indented would lose its line ends, and take its first line for the measure. */}}
{{ $path | replace "/" ".." | toJson }}: {{ $content | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/* The volume of the workspace: one folder, which Kubernetes swaps whole. `.config` is the ConfigMap with lockgate.yaml. */}}
{{- define "lockgate.workspaceVolume" -}}
{{- $v := .root.Values -}}
name: workspace
projected:
  defaultMode: 0444
  sources:
    {{- /* Of two files with one path the last source's is there: whoever's ConfigMap has a lockgate.yaml, this one counts. */}}
    {{- if eq $v.workspace.source "configMap" }}
    - configMap:
        name: {{ $v.workspace.configMap.name }}
        {{- with $v.workspace.configMap.items }}
        items:
          {{- range $key, $path := . }}
          - {key: {{ $key | toJson }}, path: {{ $path | toJson }}}
          {{- end }}
        {{- end }}
    {{- end }}
    - configMap:
        name: {{ .config }}
        items:
          - {key: lockgate.yaml, path: lockgate.yaml}
          {{- if eq $v.workspace.source "values" }}
          {{- range $path, $_ := $v.workspace.files }}
          - {key: {{ $path | replace "/" ".." | toJson }}, path: {{ $path | toJson }}}
          {{- end }}
          {{- end }}
{{- end }}
