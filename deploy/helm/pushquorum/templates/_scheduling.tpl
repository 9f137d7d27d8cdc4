{{/*
Where pods go: a node, and a zone, should hold one replica, because it takes all it holds with it. Both are wishes: a cluster of
nodes that is too small for them starts all the same.
*/}}

{{- define "pushquorum.affinity" -}}
{{- $affinity := deepCopy (.Values.affinity | default dict) -}}
{{- $apart := dict
  "topologyKey" .Values.podAntiAffinityTopologyKey
  "labelSelector" (dict "matchLabels" (include "prometheus-pushgateway.selectorLabels" . | fromYaml)) -}}
{{- if hasKey $affinity "podAntiAffinity" -}}
{{- else if eq (.Values.podAntiAffinity | default "") "hard" -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $apart)) -}}
{{- else if eq (.Values.podAntiAffinity | default "") "soft" -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $apart))) -}}
{{- end -}}
{{- with $affinity }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "pushquorum.topologySpreadConstraints" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else -}}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "prometheus-pushgateway.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}
