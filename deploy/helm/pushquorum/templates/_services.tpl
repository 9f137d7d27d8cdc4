{{- define "pushquorum.ipFamilies" -}}
{{- if .Values.service.ipDualStack.enabled -}}
ipFamilyPolicy: {{ .Values.service.ipDualStack.ipFamilyPolicy }}
ipFamilies:
  {{- toYaml .Values.service.ipDualStack.ipFamilies | nindent 2 }}
{{- end -}}
{{- end -}}
