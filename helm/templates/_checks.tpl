{{/* What the schema cannot say: values that do not go together, each in one sentence. */}}
{{- define "lockgate.checks" -}}
{{- $v := .Values -}}
{{- if not (or $v.gateway.enabled $v.envoy.enabled $v.decide.enabled $v.events.enabled) }}{{ fail "No door is open: set gateway.enabled, envoy.enabled, decide.enabled or events.enabled." }}{{ end -}}
{{- if and $v.events.enabled (not (default dict $v.config.events).sources) }}{{ fail "events.enabled needs config.events.sources: nobody is let in whom it does not name." }}{{ end -}}
{{- $tiles := default dict (default dict $v.config.audit).tiles -}}
{{- if and $v.tiles.enabled (eq $v.tls.source "none") (not (or $tiles.public $v.tls.insecure)) }}{{ fail "tiles.enabled would take API keys unencrypted: set tls.source, config.audit.tiles.public, or tls.insecure to true." }}{{ end -}}
{{- if and (not $v.tiles.enabled) (hasKey (default dict $v.config.audit) "tiles") }}{{ fail "config.audit.tiles is for a port that the chart opens: set tiles.enabled." }}{{ end -}}
{{- if and (eq $v.store.kind "sqlite") (include "lockgate.several" .) }}{{ fail "SQLite keeps the ledger of one node: set replicas to 1 and hpa.enabled to false, or store.kind to postgres." }}{{ end -}}
{{- if and (eq $v.store.kind "postgres") (eq $v.secrets.source "none") }}{{ fail "store.kind postgres needs ledger-url, and the keys that all nodes share, from secrets.source." }}{{ end -}}
{{- if and (eq $v.store.kind "postgres") (not $v.secrets.keys) (not (and (default dict $v.config.audit).key (default dict $v.config.audit).sealing_key)) }}{{ fail "Nodes that share a ledger share its keys: set secrets.keys, or config.audit.key and config.audit.sealing_key." }}{{ end -}}
{{- if and $v.envoy.enabled (gt (int $v.workers) 1) }}{{ fail "Envoy's door has one port for each worker, and the chart serves one: set workers to 1 and scale by replicas." }}{{ end -}}
{{- if eq $v.tls.source "none" }}
  {{- if and $v.envoy.enabled (not $v.tls.insecure) }}{{ fail "Envoy's door would be unencrypted, and who reaches it may say who asks: set tls.source, or tls.insecure to true." }}{{ end -}}
  {{- if and $v.networkPolicy.control (not $v.tls.insecure) }}{{ fail "networkPolicy.control lets others reach the control API, which would take API keys unencrypted: set tls.source, or tls.insecure to true." }}{{ end -}}
  {{- if and (not $v.networkPolicy.enabled) (not $v.tls.insecure) }}{{ fail "Without a network policy everybody reaches the control API, which would take API keys unencrypted: set tls.source, or tls.insecure to true." }}{{ end -}}
{{- end -}}
{{- if ne $v.control.clientCertificates "none" }}
  {{- if eq $v.tls.source "none" }}{{ fail "control.clientCertificates needs tls.source: certificates are shown over TLS." }}{{ end -}}
  {{- if and (eq $v.control.clientCertificates "required") $v.monitoring.serviceMonitor.enabled (not $v.monitoring.serviceMonitor.clientCertificate.secretName) }}{{ fail "control.clientCertificates required needs monitoring.serviceMonitor.clientCertificate.secretName: without a certificate nobody reads metrics." }}{{ end -}}
{{- end -}}
{{- if and (eq $v.tls.source "secret") (not $v.tls.secretName) }}{{ fail "tls.source secret needs tls.secretName." }}{{ end -}}
{{- if and (eq $v.tls.source "certManager") (not $v.tls.certManager.issuerRef.name) }}{{ fail "tls.source certManager needs tls.certManager.issuerRef.name." }}{{ end -}}
{{- if and (eq $v.secrets.source "existing") (not $v.secrets.existing.name) }}{{ fail "secrets.source existing needs secrets.existing.name." }}{{ end -}}
{{- if and (eq $v.secrets.source "externalSecret") (not (and $v.secrets.externalSecret.store.name $v.secrets.externalSecret.data)) }}{{ fail "secrets.source externalSecret needs secrets.externalSecret.store.name and secrets.externalSecret.data." }}{{ end -}}
{{- if and (eq $v.secrets.source "csi") (not (or $v.secrets.csi.className $v.secrets.csi.provider)) }}{{ fail "secrets.source csi needs secrets.csi.className, or secrets.csi.provider with its parameters." }}{{ end -}}
{{- if and (eq $v.secrets.source "vault") (not (and $v.secrets.vault.role $v.secrets.vault.files)) }}{{ fail "secrets.source vault needs secrets.vault.role and secrets.vault.files." }}{{ end -}}
{{- if and $v.secrets.env (not (has $v.secrets.source (list "existing" "externalSecret"))) }}{{ fail "secrets.env takes variables from a Secret: secrets.source must be existing or externalSecret." }}{{ end -}}
{{- if and (eq $v.workspace.source "values") (not (index $v.workspace.files (default "catalog.yaml" $v.config.catalog))) }}{{ fail (printf "workspace.source values needs the catalog in workspace.files, as %s." (default "catalog.yaml" $v.config.catalog)) }}{{ end -}}
{{- if and (eq $v.workspace.source "values") (hasKey $v.workspace.files "lockgate.yaml") }}{{ fail "workspace.files has lockgate.yaml, which the chart writes: put it under config." }}{{ end -}}
{{- $taken := dict -}}
{{- range $path, $_ := $v.workspace.files }}
  {{- $key := $path | replace "/" ".." -}}
  {{- with get $taken $key }}{{ fail (printf "workspace.files has %s and %s, which would be one key of the ConfigMap (%s): rename one." . $path $key) }}{{ end -}}
  {{- $_ := set $taken $key $path -}}
{{- end -}}
{{- if eq $v.workspace.source "configMap" }}
  {{- $paths := dict -}}
  {{- range $key, $path := $v.workspace.configMap.items }}
    {{- if eq $path "lockgate.yaml" }}{{ fail "workspace.configMap.items has lockgate.yaml, which the chart writes: put it under config." }}{{ end -}}
    {{- with get $paths $path }}{{ fail (printf "workspace.configMap.items has %s and %s for one file (%s): leave one out." . $key $path) }}{{ end -}}
    {{- $_ := set $paths $path $key -}}
  {{- end -}}
  {{- include "lockgate.folders" (dict "value" "workspace.configMap.items" "paths" (keys $paths | sortAlpha)) -}}
{{- else if eq $v.workspace.source "values" }}
  {{- include "lockgate.folders" (dict "value" "workspace.files" "paths" (keys $v.workspace.files | sortAlpha)) -}}
  {{- $policy := default dict $v.config.policy -}}
  {{- $folder := clean (default "policies" $policy.path) -}}
  {{- /* Policies of the image, or of a volume, the values do not say. */}}
  {{- $elsewhere := or $v.opa.enabled $policy.bundle (eq (toString (get (default dict $policy.engine) "adapter")) "opa") (isAbs $folder) (hasPrefix ".." $folder) (contains "$" $folder) -}}
  {{- $policies := false -}}
  {{- range $path, $_ := $v.workspace.files }}{{ if and (or (eq $folder ".") (hasPrefix (printf "%s/" $folder) $path)) (hasSuffix ".rego" $path) }}{{ $policies = true }}{{ end }}{{ end -}}
  {{- if not (or $elsewhere $policies) }}{{ fail (printf "workspace.source values needs policies in workspace.files, below %s; without one nothing is allowed." $folder) }}{{ end -}}
{{- end -}}
{{- if and (eq $v.workspace.source "configMap") (not $v.workspace.configMap.name) }}{{ fail "workspace.source configMap needs workspace.configMap.name." }}{{ end -}}
{{- if and $v.migration.enabled (ne $v.store.kind "postgres") }}{{ fail "migration is for store.kind postgres; a node brings its own SQLite files to a newer format." }}{{ end -}}
{{- if and $v.migration.enabled (not $v.migration.existingSecret) }}{{ fail "migration.enabled needs migration.existingSecret, with the URLs of the tables' owner." }}{{ end -}}
{{- if and $v.migration.enabled $v.secrets.env (ne $v.secrets.source "existing") }}{{ fail "A migration runs before an ExternalSecret has its Secret: with secrets.env, migration needs secrets.source existing." }}{{ end -}}
{{- if lt (int $v.drain.terminationGracePeriodSeconds) (add (int $v.drain.preStopSeconds) 65) }}{{ fail (printf "A node stops within 65 seconds after preStop: set drain.terminationGracePeriodSeconds to %d or more." (add (int $v.drain.preStopSeconds) 65)) }}{{ end -}}
{{- if and $v.opa.enabled (not (or $v.opa.image.tag $v.opa.image.digest)) }}{{ fail "opa.enabled needs opa.image.tag or opa.image.digest; the chart chooses no version of OPA for you." }}{{ end -}}
{{- $configured := default dict $v.config.policy -}}
{{- if and $v.opa.enabled $configured.engine }}{{ fail "opa.enabled sets policy.engine; leave config.policy.engine out." }}{{ end -}}
{{- if and $v.opa.enabled $configured.bundle }}{{ fail "An OPA server takes bundles by itself: name them in opa.config, and leave config.policy.bundle out." }}{{ end -}}
{{- $open := dict -}}
{{- range $each := concat (include "lockgate.ports" . | fromYamlArray) (include "lockgate.besidePorts" . | fromYamlArray) }}
  {{- $port := $each.port | int | toString -}}
  {{- with get $open $port }}{{ fail (printf "Port %s of the pod would be for %s and for %s: give one of them another." $port . $each.name) }}{{ end -}}
  {{- $_ := set $open $port $each.name -}}
{{- end -}}
{{- if $v.gateway.enabled }}
  {{- range $name := list "decide" "events" "tiles" }}
    {{- $door := index $v $name -}}
    {{- if and $door.enabled (eq (int $door.port) (int $v.service.gatewayPort)) }}{{ fail (printf "service.gatewayPort is %s.port, and both are of one Service: give one of them another." $name) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- range $name := list "LOCKGATE_NODE" "LOCKGATE_CONFIG" }}
  {{- if or (hasKey $v.env $name) (hasKey $v.secrets.env $name) }}{{ fail (printf "env.%s is set by the chart; leave it out." $name) }}{{ end -}}
{{- end -}}
{{- range $name, $_ := $v.env }}
  {{- if hasKey $v.secrets.env $name }}{{ fail (printf "env and secrets.env both have %s: leave one out." $name) }}{{ end -}}
{{- end -}}
{{- if and $v.hpa.enabled (not (or $v.hpa.cpu $v.hpa.active)) }}{{ fail "hpa.enabled needs hpa.cpu or hpa.active to scale by." }}{{ end -}}
{{- if gt (int $v.hpa.minReplicas) (int $v.hpa.maxReplicas) }}{{ fail "hpa.minReplicas is larger than hpa.maxReplicas." }}{{ end -}}
{{- range $name, $door := dict "httpRoute" "gateway" "grpcRoute" "envoy" "extProc" "envoy" "extAuth" "envoy" }}
  {{- if and (index $v.gatewayApi $name).enabled (not (index $v $door).enabled) }}{{ fail (printf "gatewayApi.%s leads to the %s door: set %s.enabled." $name $door $door) }}{{ end -}}
{{- end -}}
{{- range $name := list "httpRoute" "grpcRoute" }}
  {{- if and (index $v.gatewayApi $name).enabled (not (index $v.gatewayApi $name).parentRefs) }}{{ fail (printf "gatewayApi.%s.enabled needs parentRefs." $name) }}{{ end -}}
{{- end -}}
{{- range $name := list "extProc" "extAuth" }}
  {{- if and (index $v.gatewayApi $name).enabled (not (index $v.gatewayApi $name).targetRefs) }}{{ fail (printf "gatewayApi.%s.enabled needs targetRefs." $name) }}{{ end -}}
{{- end -}}
{{- $deadline := default "2s" (default dict $v.config.envoy).deadline -}}
{{- range $path := list (list "extProc" "messageTimeout") (list "extAuth" "timeout") }}
  {{- $way := index $v.gatewayApi (first $path) -}}
  {{- $wait := index $way (last $path) -}}
  {{- if and $way.enabled (le (include "lockgate.millis" $wait | int64) (include "lockgate.millis" $deadline | int64)) }}{{ fail (printf "gatewayApi.%s (%s) must be longer than config.envoy.deadline (%s): Envoy would give up before Lockgate says that it is late." (join "." $path) $wait $deadline) }}{{ end -}}
{{- end -}}
{{- $view := include "lockgate.bytes" (default "64KiB" (default dict (default dict $v.config.gateway).limits).view) | int64 -}}
{{- if and $v.gatewayApi.extAuth.enabled (le (int64 $v.gatewayApi.extAuth.maxRequestBytes) $view) }}{{ fail (printf "Envoy may cut a body at gatewayApi.extAuth.maxRequestBytes without a word: set it to %d or more, one byte beyond config.gateway.limits.view, so that Lockgate sees that there is more." (add $view 1)) }}{{ end -}}
{{- if and $v.gatewayApi.backendTls.enabled (or (eq $v.tls.source "none") (not $v.gatewayApi.backendTls.caConfigMap)) }}{{ fail "gatewayApi.backendTls needs tls.source and caConfigMap." }}{{ end -}}
{{- if and $v.gatewayApi.backendTls.enabled (not $v.envoy.enabled) (not (default dict $v.config.gateway).tls) }}{{ fail "gatewayApi.backendTls is for a door with a certificate: set envoy.enabled, or config.gateway.tls." }}{{ end -}}
{{- if and $v.monitoring.serviceMonitor.enabled (not $v.monitoring.serviceMonitor.credentials.secretName) }}{{ fail "monitoring.serviceMonitor needs credentials.secretName: who reads metrics shows a key with the permission metrics.read." }}{{ end -}}
{{- if $v.networkPolicy.enabled }}
  {{- $database := $v.networkPolicy.postgres -}}
  {{- range $v.networkPolicy.egress }}
    {{- if not .ports }}{{ $database = true }}{{ end -}}
    {{- range .ports }}{{ if or (not .port) (eq (toString .port) (toString $v.networkPolicy.postgresPort)) .endPort }}{{ $database = true }}{{ end }}{{ end -}}
  {{- end -}}
  {{- if and (eq $v.store.kind "postgres") (not $database) }}{{ fail "The network policy lets nobody reach PostgreSQL: name it in networkPolicy.postgres, or a rule for its port in networkPolicy.egress." }}{{ end -}}
  {{- if and $v.migration.enabled (not $v.networkPolicy.postgres) }}{{ fail "The migration reaches nobody but whom networkPolicy.postgres names: name the database there." }}{{ end -}}
  {{- if and $v.monitoring.serviceMonitor.enabled (not $v.networkPolicy.control) }}{{ fail "The network policy lets nobody read metrics: name your Prometheus in networkPolicy.control." }}{{ end -}}
{{- end -}}
{{- range $key := list "version" "state" "workers" }}
  {{- if hasKey $v.config $key }}{{ fail (printf "config.%s is set by the chart; leave it out." $key) }}{{ end -}}
{{- end -}}
{{- range $name := list "listen" "insecure" }}
  {{- if hasKey $tiles $name }}{{ fail (printf "config.audit.tiles.%s is set by the chart; leave it out." $name) }}{{ end -}}
{{- end -}}
{{- range $path := list (list "gateway" "listen") (list "decide" "listen") (list "events" "listen") (list "control" "listen") (list "control" "tls") (list "control" "insecure") (list "control" "probes") (list "envoy" "listen") (list "envoy" "tls") (list "envoy" "insecure") (list "audit" "store") }}
  {{- if hasKey (default dict (index $v.config (first $path))) (last $path) }}{{ fail (printf "config.%s is set by the chart; leave it out." (join "." $path)) }}{{ end -}}
{{- end -}}
{{- if $v.opa.enabled }}
  {{- if not (or $v.opa.config.bundles $v.opa.config.discovery) }}{{ fail "opa.enabled needs opa.config with bundles, or discovery: an OPA that nobody gives policies has none, and each node denies everything." }}{{ end -}}
  {{- if and $v.opa.secrets.env (not $v.opa.secrets.name) }}{{ fail "opa.secrets.env takes variables from a Secret: set opa.secrets.name." }}{{ end -}}
  {{- if and $v.opa.secrets.name (eq $v.opa.secrets.name (include "lockgate.secretName" .)) }}{{ fail "opa.secrets.name is Lockgate's own Secret, whose keys OPA has no use for: give OPA one of its own." }}{{ end -}}
  {{- if and (contains "/run/opa/secrets/" (toJson $v.opa.config)) (not $v.opa.secrets.name) }}{{ fail "opa.config names a file in /run/opa/secrets: set opa.secrets.name." }}{{ end -}}
  {{- if and $v.networkPolicy.enabled $v.opa.config.services (not $v.networkPolicy.egress) }}{{ fail "The network policy lets OPA reach none of opa.config.services, so that no node starts: name them in networkPolicy.egress." }}{{ end -}}
{{- end -}}
{{- $bundles := toString (get (default dict (default dict $v.config.policy).bundle) "from") -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.egress) (contains "://" $bundles) (not (regexMatch "://(127[.]|localhost[:/]|\\[::1\\])" $bundles)) }}{{ fail "The network policy lets nobody reach the server of config.policy.bundle, so that no node starts: name it in networkPolicy.egress." }}{{ end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.egress) }}
  {{- range $path := list "shared_state" "secrets.vault" "telemetry.otlp" "control.sign_in.oidc" "audit.witnesses" "classifier.llm" "review.notify" }}
    {{- $found := $v.config -}}
    {{- range $name := splitList "." $path }}{{ if kindIs "map" $found }}{{ $found = get $found $name }}{{ else }}{{ $found = "" }}{{ end }}{{ end -}}
    {{- if and $found (not (regexMatch "://(127[.]|localhost[:/]|\\[::1\\])" (toJson $found))) }}{{ fail (printf "The network policy lets nobody reach what config.%s names: name it in networkPolicy.egress, too." $path) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if and (eq $v.secrets.source "vault") $v.networkPolicy.enabled (not $v.networkPolicy.egress) }}{{ fail "The network policy lets nobody reach Vault, so that no node starts: name it in networkPolicy.egress." }}{{ end -}}
{{- include "lockgate.secretFiles" . -}}
{{- end }}

{{/* A file that is a folder of another, too, which no volume can have. `paths` are sorted. */}}
{{- define "lockgate.folders" -}}
{{- $all := .paths -}}
{{- range $path := prepend .paths "lockgate.yaml" -}}
  {{- range $other := $all -}}
    {{- if hasPrefix (printf "%s/" $path) $other }}{{ fail (printf "%s has %s, where %s is a file: rename one." $.value $other $path) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* Files that the configuration names, and that the values say nobody puts there. What is in a Secret of one's own, or a CSI volume, they do not say. */}}
{{- define "lockgate.secretFiles" -}}
{{- $v := .Values -}}
{{- $secrets := $v.secrets -}}
{{- $written := dict -}}
{{- if eq $secrets.source "externalSecret" -}}{{- $written = $secrets.externalSecret.data -}}
  {{- range $name, $key := $secrets.env }}
    {{- if not (hasKey $written $key) }}{{ fail (printf "secrets.env.%s is %s, which secrets.externalSecret.data does not have." $name $key) }}{{ end -}}
  {{- end -}}
{{- else if eq $secrets.source "vault" -}}{{- $written = $secrets.vault.files -}}
  {{- range $file, $from := $secrets.vault.files }}
    {{- $named := or (hasKey $secrets.vault.annotations (printf "vault.hashicorp.com/agent-inject-template-%s" $file)) (hasKey $secrets.vault.annotations (printf "vault.hashicorp.com/agent-inject-template-file-%s" $file)) -}}
    {{- if not (or $from.template $named) }}{{ fail (printf "secrets.vault.files.%s needs a template: without one the file has all fields of the secret with their names, and Lockgate reads a value." $file) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if eq $v.tls.source "none" -}}
  {{- $certified := false -}}
  {{- range $v.extraVolumeMounts }}{{ if hasPrefix "/run/lockgate/tls" (toString .mountPath) }}{{ $certified = true }}{{ end }}{{ end -}}
  {{- if and (contains "/run/lockgate/tls/" (include "lockgate.configuration" .)) (not $certified) }}{{ fail "The configuration names a certificate in /run/lockgate/tls, and tls.source none puts none there." }}{{ end -}}
{{- end -}}
{{- $mounted := false -}}
{{- range $v.extraVolumeMounts }}{{ if hasPrefix "/run/lockgate/secrets" (toString .mountPath) }}{{ $mounted = true }}{{ end }}{{ end -}}
{{- range $name, $_ := $secrets.vault.annotations }}{{ if regexMatch "agent-(inject-secret-|inject-file-|configmap)" $name }}{{ $mounted = true }}{{ end }}{{ end -}}
{{- if and (has $secrets.source (list "none" "externalSecret" "vault")) (not $mounted) -}}
  {{- range $path := regexFindAll "/run/lockgate/secrets/[-._A-Za-z0-9]+" (include "lockgate.configuration" .) -1 | uniq }}
    {{- $file := base $path -}}
    {{- if not (hasKey $written $file) }}
      {{- if eq $secrets.source "none" }}{{ fail (printf "The configuration names %s, and secrets.source none puts nothing there." $path) }}{{ end -}}
      {{- fail (printf "secrets.%s does not have %s, which nodes need." (ternary "vault.files" "externalSecret.data" (eq $secrets.source "vault")) $file) }}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}
