{{/*
The command line of a replica. It is the same for first start, restart, replacement and growth; only what
--cluster.bootstrap-expect says depends on the number of replicas:

  1     Pod 0 may found a cluster alone, because the first peer names it and nobody else, and the second leads to nobody
        else. Any further pod would join it: for that one the first peer is somebody else.
  3, 5  As many empty directories as there are replicas must meet. An emptied one, or all but one, found nothing and join.
        So the number must not be less: at 1 → 5 four are empty, and must not do without pod 0, should it be away.

The number comes from a ConfigMap, so that changing it restarts nobody: at 5 → 3 a replica that is restarted while two leave might
give up its vote in their place, and one that is gone for good would go on counting.
*/}}
{{- define "pushquorum.ownArgs" -}}
{{- $c := .Values.cluster -}}
{{- $peers := printf "%s.$(POD_NAMESPACE).svc%s:%d" (include "pushquorum.peersService" .) (include "pushquorum.domain" .) (int $c.port) -}}
- --storage.path={{ include "pushquorum.storagePath" . }}
- --cluster.name=$(POD_NAME)
- --cluster.listen-address=[$(POD_IP)]:{{ $c.port }}
- --cluster.peer={{ include "prometheus-pushgateway.fullname" . }}-0.{{ $peers }}
- --cluster.peer={{ $peers }}
{{- range .Values.additionalPeers }}
- --cluster.peer={{ . }}
{{- end }}
- --cluster.bootstrap-expect=$(BOOTSTRAP_EXPECT)
{{- with $c.label }}
- --cluster.label={{ . }}
{{- end }}
{{- with $c.deadServerGrace }}
- --cluster.dead-server-grace={{ . }}
{{- end }}
{{- with $c.drainDelay }}
- --web.drain-delay={{ . }}
{{- end }}
{{- with $c.pushTimeout }}
- --push.timeout={{ . }}
{{- end }}
{{- if eq (int .Values.replicaCount) 1 }}
{{- /* Where a Pushgateway's users and their alerts look for them; what podMonitor scrapes must not be there a second time. */}}
- --web.include-self-metrics={{ not (.Values.podMonitor).enabled }}
{{- end }}
{{- with .Values.persistentVolume.persistenceFile }}
- --persistence.file={{ . }}
{{- end }}
{{- if .Values.webConfiguration }}
- --web.config.file=/etc/config/web-config.yaml
{{- end }}
{{- end -}}

{{/* A flag may be given once, so what extraArgs say is left out of our own; but for --cluster.peer, of which there may be many. */}}
{{- define "pushquorum.args" -}}
{{- $theirs := dict -}}
{{- range .Values.extraArgs -}}
{{- $_ := set $theirs (include "pushquorum.flagName" .) true -}}
{{- end -}}
{{- range include "pushquorum.ownArgs" . | fromYamlArray -}}
{{- $name := include "pushquorum.flagName" . -}}
{{- if or (eq $name "cluster.peer") (not (hasKey $theirs $name)) }}
- {{ . | quote }}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* The name in --name=value, --name and --no-name. */}}
{{- define "pushquorum.flagName" -}}
{{- regexReplaceAll "^--(?:no-)?([^=]*).*$" (toString .) "${1}" -}}
{{- end -}}

{{/* What the value of a flag is in the end: root, flag, and what it is unless extraArgs say otherwise. */}}
{{- define "pushquorum.flagValue" -}}
{{- $value := .default -}}
{{- $awaited := false -}}
{{- range .root.Values.extraArgs -}}
{{- $arg := toString . -}}
{{- if $awaited -}}
{{- $value = $arg -}}
{{- else if hasPrefix (printf "--%s=" $.flag) $arg -}}
{{- $value = trimPrefix (printf "--%s=" $.flag) $arg -}}
{{- end -}}
{{- $awaited = eq $arg (printf "--%s" $.flag) -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* Seconds, rounded up, of a duration as the flags take it, such as 1m30s. */}}
{{- define "pushquorum.seconds" -}}
{{- $unit := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $sum = addf $sum (mulf (regexFind "[0-9.]+" . | float64) (index $unit (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end -}}

{{/* Behind .svc, for pods whose search domains do not hold the cluster's. */}}
{{- define "pushquorum.domain" -}}
{{- with .Values.clusterDomain }}.{{ . }}{{ end -}}
{{- end -}}

{{/*
How long a pod may take to end, in seconds: it serves for the drain delay, then finishes what has begun, and then hands over
what is left and closes its log, for which 12 seconds are enough.
*/}}
{{- define "pushquorum.endingTakes" -}}
{{- $drain := include "pushquorum.flagValue" (dict "root" . "flag" "web.drain-delay" "default" (.Values.cluster.drainDelay | default "5s")) -}}
{{- $push := include "pushquorum.flagValue" (dict "root" . "flag" "push.timeout" "default" (.Values.cluster.pushTimeout | default "8s")) -}}
{{- $hook := (((.Values.lifecycle).preStop).sleep).seconds | default 0 -}}
{{- add (include "pushquorum.seconds" $drain) (include "pushquorum.seconds" $push) $hook 12 -}}
{{- end -}}

{{- define "pushquorum.terminationGracePeriodSeconds" -}}
{{- $takes := include "pushquorum.endingTakes" . | int -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- max $takes 30 -}}
{{- else if lt (int $given) $takes -}}
{{- fail (printf "terminationGracePeriodSeconds=%d is shorter than a replica takes to end: %d seconds, which are --web.drain-delay, --push.timeout, a preStop sleep and 12 seconds to hand over; write at least that, or leave it out" (int $given) $takes) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end -}}
