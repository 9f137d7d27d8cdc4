{{/*
Where a replica keeps its data, and where an old persistence file comes from.
*/}}

{{/*
The replica's own volume is at persistentVolume.mountPath, unless a claim of the community chart is there: then --persistence.file
of its users is where it was, and the replica's own volume elsewhere.
*/}}
{{- define "pushquorum.storagePath" -}}
{{- if .Values.persistentVolume.existingClaim -}}
/var/lib/pushquorum
{{- else -}}
{{- .Values.persistentVolume.mountPath -}}
{{- end -}}
{{- end -}}

{{- define "pushquorum.volumeMounts" -}}
- name: storage-volume
  mountPath: {{ include "pushquorum.storagePath" . | quote }}
  {{- with .Values.persistentVolume.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- if .Values.persistentVolume.existingClaim }}
- name: existing-claim
  mountPath: {{ .Values.persistentVolume.mountPath | quote }}
  {{- with .Values.persistentVolume.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
  readOnly: true
{{- end }}
{{- if .Values.webConfiguration }}
- name: web-config
  mountPath: /etc/config
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pushquorum.volumes" -}}
{{- if not .Values.persistentVolume.enabled }}
- name: storage-volume
  emptyDir:
    {{- toYaml .Values.persistentVolume.emptyDir | nindent 4 }}
{{- end }}
{{- with .Values.persistentVolume.existingClaim }}
- name: existing-claim
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- if .Values.webConfiguration }}
- name: web-config
  secret:
    secretName: {{ include "prometheus-pushgateway.webConfigurationSecretName" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels and annotations are the user's alone: a claim template cannot be changed, and so must not hold a chart's version. */}}
{{- define "pushquorum.claimTemplate" -}}
metadata:
  name: storage-volume
  {{- with .Values.persistentVolumeLabels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.persistentVolume.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  accessModes:
    {{- toYaml .Values.persistentVolume.accessModes | nindent 4 }}
  {{- with .Values.persistentVolume.storageClass }}
  storageClassName: {{ ternary "" . (eq . "-") | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ .Values.persistentVolume.size | quote }}
{{- end -}}

{{/*
A set that is shrunk to one and grows again must not find the claims of the larger one: two of its members would be a majority
of the cluster that was given up, beside the one of pod 0.
*/}}
{{- define "pushquorum.claimRetention" -}}
{{- $policy := deepCopy (.Values.persistentVolumeClaimRetentionPolicy | default dict) -}}
{{- if include "pushquorum.shrinksToOne" . -}}
{{- $_ := set $policy "whenScaled" "Delete" -}}
{{- end -}}
{{- toYaml $policy -}}
{{- end -}}
