{{/*
What things are called. The helpers with the prefix prometheus-pushgateway are those of the community chart, because the
extraManifests of its users include them.
*/}}

{{/* The name is the Pushgateway's and not the chart's: selectors of users say app.kubernetes.io/name: prometheus-pushgateway. */}}
{{- define "prometheus-pushgateway.name" -}}
{{- .Values.nameOverride | default "prometheus-pushgateway" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Of 52 characters at most: the StatefulSet's revision, with a hash behind the name, is a label of its pods. */}}
{{- define "prometheus-pushgateway.fullname" -}}
{{- $name := include "prometheus-pushgateway.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "prometheus-pushgateway.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "prometheus-pushgateway.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "prometheus-pushgateway.serviceAccountName" -}}
{{- $unnamed := ternary (include "prometheus-pushgateway.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $unnamed -}}
{{- end -}}

{{- define "prometheus-pushgateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "prometheus-pushgateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "prometheus-pushgateway.defaultLabels" -}}
{{- $labels := dict
  "helm.sh/chart" (include "prometheus-pushgateway.chart" .)
  "app.kubernetes.io/version" (.Values.image.tag | default .Chart.AppVersion | toString | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $own := include "prometheus-pushgateway.selectorLabels" . | fromYaml -}}
{{- mergeOverwrite $labels (.Values.commonLabels | default dict) (.Values.podLabels | default dict) $own | toYaml -}}
{{- end -}}

{{/* The Service through which the replicas find each other, the one for clients, and the one for scraping. */}}
{{- define "pushquorum.peersService" -}}
{{ include "prometheus-pushgateway.fullname" . }}-peers
{{- end -}}

{{- define "pushquorum.readService" -}}
{{ include "prometheus-pushgateway.fullname" . }}-read
{{- end -}}

{{/* image FROM the values: registry, repository and tag, as in the community chart. */}}
{{- define "prometheus-pushgateway.image" -}}
{{- include "pushquorum.imageOf" (dict "root" . "tag" (.Values.image.tag | default .Chart.AppVersion)) -}}
{{- end -}}

{{- define "pushquorum.imageOf" -}}
{{- $values := .root.Values -}}
{{- $registry := ($values.global).imageRegistry | default $values.image.registry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $values.image.repository }}:{{ .tag -}}
{{- end -}}

{{- define "pushquorum.namespaceOf" -}}
{{- .over | default (include "prometheus-pushgateway.namespace" .root) -}}
{{- end -}}

{{/* The metadata of one object: root, and where needed name, namespace, component, labels, annotations. */}}
{{- define "pushquorum.metadata" -}}
name: {{ .name | default (include "prometheus-pushgateway.fullname" .root) }}
namespace: {{ include "pushquorum.namespaceOf" (dict "root" .root "over" .namespace) }}
labels:
  {{- include "prometheus-pushgateway.defaultLabels" .root | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
