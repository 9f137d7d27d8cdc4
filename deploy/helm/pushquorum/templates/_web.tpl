{{/*
Who may speak HTTP with a replica: webConfiguration, as the community chart has it.
*/}}

{{- define "prometheus-pushgateway.webConfigurationExistingSecretName" -}}
{{- ((.Values.webConfiguration).existingSecret).name | default "" -}}
{{- end -}}

{{- define "prometheus-pushgateway.webConfigurationSecretName" -}}
{{- include "prometheus-pushgateway.webConfigurationExistingSecretName" . | default (include "prometheus-pushgateway.fullname" .) -}}
{{- end -}}

{{- define "prometheus-pushgateway.webConfiguration" -}}
basic_auth_users:
{{- range $user, $password := (.Values.webConfiguration).basicAuthUsers }}
  {{ $user | quote }}: {{ htpasswd $user $password | trimPrefix (printf "%s:" $user) | quote }}
{{- end }}
{{- end -}}

{{/* The first user by name, with whom probes, tests and monitors come in. */}}
{{- define "pushquorum.firstUser" -}}
{{- with (.Values.webConfiguration).basicAuthUsers }}{{ keys . | sortAlpha | first }}{{ end -}}
{{- end -}}

{{- define "prometheus-pushgateway.Authorization" -}}
{{- $user := include "pushquorum.firstUser" . -}}
{{- printf "%s:%s" $user (index .Values.webConfiguration.basicAuthUsers $user) -}}
{{- end -}}

{{- define "prometheus-pushgateway.basicAuth" -}}
{{- $user := include "pushquorum.firstUser" . -}}
user: {{ $user | b64enc | quote }}
password: {{ index .Values.webConfiguration.basicAuthUsers $user | b64enc | quote }}
{{- end -}}

{{/* One probe, of a dict with root and probe. Credentials in an existing secret are not known here, so that only the port can be asked. */}}
{{- define "pushquorum.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if include "prometheus-pushgateway.webConfigurationExistingSecretName" .root -}}
{{- $_ := set $probe "tcpSocket" (dict "port" $probe.httpGet.port) -}}
{{- $_ := unset $probe "httpGet" -}}
{{- else if include "pushquorum.firstUser" .root -}}
{{- $header := dict "name" "Authorization" "value" (printf "Basic %s" (include "prometheus-pushgateway.Authorization" .root | b64enc)) -}}
{{- $_ := set $probe.httpGet "httpHeaders" (prepend ($probe.httpGet.httpHeaders | default list) $header) -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* How a monitor comes in: root and monitor, the values of it. */}}
{{- define "pushquorum.endpointAccess" -}}
{{- with .monitor.scheme }}
scheme: {{ . }}
{{- end }}
{{- if .monitor.basicAuth }}
basicAuth:
  {{- toYaml .monitor.basicAuth | nindent 2 }}
{{- else if include "pushquorum.firstUser" .root }}
basicAuth:
  username:
    name: {{ include "prometheus-pushgateway.fullname" .root }}-basic-auth
    key: user
  password:
    name: {{ include "prometheus-pushgateway.fullname" .root }}-basic-auth
    key: password
{{- end }}
{{- with .monitor.bearerTokenFile }}
bearerTokenFile: {{ . }}
{{- end }}
{{- with .monitor.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- end -}}
