{{/*
The pod: the container is called pushgateway and its port metrics, as in the community chart.
*/}}
{{- define "prometheus-pushgateway.podSpec" -}}
serviceAccountName: {{ include "prometheus-pushgateway.serviceAccountName" . }}
automountServiceAccountToken: {{ .Values.automountServiceAccountToken }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "pushquorum.terminationGracePeriodSeconds" . }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with ((.Values.global).imagePullSecrets | default .Values.imagePullSecrets) }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.extraInitContainers (include "pushquorum.shrinksToOne" .) }}
initContainers:
  {{- with .Values.extraInitContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if include "pushquorum.shrinksToOne" . }}
  # Makes a cluster of one of a member of three or five. It refuses, and is tried again, as long as another member answers.
  - name: shrink-to-one
    {{- include "pushquorum.container" . | nindent 4 }}
    args:
      - recover
      - --accept-loss
      - --if-needed
      {{- include "pushquorum.args" . | trim | nindent 6 }}
  {{- end }}
{{- end }}
containers:
  {{- with .Values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  - name: pushgateway
    {{- include "pushquorum.container" . | nindent 4 }}
    args:
      {{- include "pushquorum.args" . | trim | nindent 6 }}
    ports:
      - name: metrics
        containerPort: 9091
        protocol: TCP
      - name: gossip
        containerPort: {{ .Values.cluster.port }}
        protocol: TCP
      - name: gossip-udp
        containerPort: {{ .Values.cluster.port }}
        protocol: UDP
      - name: peer
        containerPort: {{ add .Values.cluster.port 1 }}
        protocol: TCP
    {{- if .Values.startupProbe.enabled }}
    startupProbe:
      {{- include "pushquorum.probe" (dict "root" . "probe" .Values.startupProbe.probe) | nindent 6 }}
    {{- end }}
    {{- if .Values.liveness.enabled }}
    livenessProbe:
      {{- include "pushquorum.probe" (dict "root" . "probe" .Values.liveness.probe) | nindent 6 }}
    {{- end }}
    {{- if .Values.readiness.enabled }}
    readinessProbe:
      {{- include "pushquorum.probe" (dict "root" . "probe" .Values.readiness.probe) | nindent 6 }}
    {{- end }}
    {{- with .Values.lifecycle }}
    lifecycle:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "pushquorum.affinity" . }}
affinity:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "pushquorum.topologySpreadConstraints" . }}
topologySpreadConstraints:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "pushquorum.volumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a container that works on the data has, whatever it does. */}}
{{- define "pushquorum.container" -}}
image: {{ include "prometheus-pushgateway.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: POD_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  - name: BOOTSTRAP_EXPECT
    valueFrom:
      configMapKeyRef:
        name: {{ include "prometheus-pushgateway.fullname" . }}
        key: bootstrap-expect
  {{- with .Values.extraVars }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "pushquorum.volumeMounts" . | trim | nindent 2 }}
{{- end -}}

{{/* A probe of the port alone says that a replica listens, and not that it votes again: the next one then waits a while. */}}
{{- define "pushquorum.minReadySeconds" -}}
{{- $blind := and (gt (int .Values.replicaCount) 1) (or (not .Values.readiness.enabled) (include "prometheus-pushgateway.webConfigurationExistingSecretName" .)) -}}
{{- if kindIs "invalid" .Values.minReadySeconds -}}
{{- ternary 20 0 (not (not $blind)) -}}
{{- else -}}
{{- .Values.minReadySeconds -}}
{{- end -}}
{{- end -}}
