{{/*
What is refused before anything is changed, because Kubernetes would take it, or refuse it in words that nobody understands.
*/}}
{{- define "pushquorum.check" -}}
{{- $full := include "prometheus-pushgateway.fullname" . -}}
{{- $n := int .Values.replicaCount -}}
{{- if eq $n 0 -}}
{{- fail "replicaCount=0: write 1, 3 or 5; to stop all pods for a while and keep their data: kubectl scale statefulset --replicas=0" -}}
{{- else if or (lt $n 0) (eq (mod $n 2) 0) -}}
{{- fail (printf "replicaCount=%d: an even number bears the loss of no more replicas than %d do, and each push waits for one more; write 1, 3 or 5" $n (sub $n 1)) -}}
{{- else if gt $n 7 -}}
{{- fail (printf "replicaCount=%d: every replica holds everything, so more than 5 make pushes slower and bear the loss of more than two, which 5 do already; write 1, 3 or 5" $n) -}}
{{- end -}}
{{- if regexMatch "(^|/)(prom|prometheus)/pushgateway$" .Values.image.repository -}}
{{- fail (printf "image.repository=%s is the Pushgateway, which cannot be replicated: leave image.repository and image.tag out, or name an image of PushQuorum" .Values.image.repository) -}}
{{- end -}}
{{- if and .Values.persistentVolume.existingClaim (gt $n 1) -}}
{{- fail (printf "persistentVolume.existingClaim=%s with replicaCount=%d: one claim cannot be the volume of several pods; install with replicaCount=1, which imports --persistence.file from it, then leave existingClaim out and raise replicaCount" .Values.persistentVolume.existingClaim $n) -}}
{{- end -}}
{{- include "pushquorum.checkBudget" . -}}
{{- include "pushquorum.checkLive" . -}}
{{- end -}}

{{/* A budget that allows to evict the majority is none. */}}
{{- define "pushquorum.checkBudget" -}}
{{- $n := int .Values.replicaCount -}}
{{- $most := div (sub $n 1) 2 -}}
{{- range $key, $value := .Values.podDisruptionBudget -}}
{{- if and (gt $n 1) (has $key (list "minAvailable" "maxUnavailable")) -}}
{{- $count := 0 -}}
{{- if hasSuffix "%" (toString $value) -}}
{{- $count = divf (mulf (trimSuffix "%" (toString $value) | float64) $n) 100.0 | ceil | int -}}
{{- else -}}
{{- $count = int $value -}}
{{- end -}}
{{- $evicted := ternary (sub $n $count) $count (eq $key "minAvailable") -}}
{{- if gt (int $evicted) (int $most) -}}
{{- fail (printf "podDisruptionBudget.%s=%v lets %d of %d replicas be evicted at once, and without a majority no push is taken: write maxUnavailable: 1, or leave it out" $key $value (int $evicted) $n) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is there already; nothing is found by `helm template` and without access. */}}
{{- define "pushquorum.checkLive" -}}
{{- $full := include "prometheus-pushgateway.fullname" . -}}
{{- $namespace := include "prometheus-pushgateway.namespace" . -}}
{{- $n := int .Values.replicaCount -}}
{{- with lookup "v1" "Service" $namespace $full -}}
{{- if eq (.spec.clusterIP | default "") "None" -}}
{{- fail (printf "the Service %s is headless, and that cannot be changed: delete it first (kubectl delete service -n %s %s), and this upgrade makes it anew" $full $namespace $full) -}}
{{- end -}}
{{- end -}}
{{- with lookup "apps/v1" "StatefulSet" $namespace $full -}}
{{- $was := int .spec.replicas -}}
{{- /* A claim of pod 1: there have been more, and pod 0 may be waiting for them. */}}
{{- $grew := lookup "v1" "PersistentVolumeClaim" $namespace (printf "storage-volume-%s-1" $full) -}}
{{- $claims := gt (len (.spec.volumeClaimTemplates | default list)) 0 -}}
{{- if ne .spec.serviceName (include "pushquorum.peersService" $) -}}
{{- fail (printf "the StatefulSet %s is not this chart's, and its serviceName %s cannot be changed: delete it and keep its claims (kubectl delete statefulset -n %s %s), and this upgrade makes it anew" $full .spec.serviceName $namespace $full) -}}
{{- else if ne $claims $.Values.persistentVolume.enabled -}}
{{- fail (printf "persistentVolume.enabled=%t, but the StatefulSet %s was made with %t, and that cannot be changed: delete it and keep its pods (kubectl delete statefulset -n %s --cascade=orphan %s), and this upgrade makes it anew; each replica then begins with an empty volume, so with one replica everything is lost" $.Values.persistentVolume.enabled $full $claims $namespace $full) -}}
{{- else if and (eq $n 1) (gt $was 1) (not $.Values.cluster.shrinkToOne) -}}
{{- fail (printf "replicaCount=1, and %d replicas are there: the others end at the same time, so pod 0 may lack what they acknowledged last, and has no majority left. To go on with what %s: set cluster.shrinkToOne=true, too; to keep the number: replicaCount=%d" $was (ternary "its volume holds, and delete the other volumes" "an empty state, because an emptyDir goes with its pod" $claims) $was) -}}
{{- else if and (gt $n 1) (eq $was 1) (not $grew) (eq (int (.status.readyReplicas | default 0)) 0) -}}
{{- fail (printf "replicaCount=%d, and pod %s-0 is not ready yet: it would wait for the others to be added to their cluster, and they for its flags, which a StatefulSet changes last; upgrade when it is ready" $n $full) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether pod 0 gives up the others: "true" or nothing. */}}
{{- define "pushquorum.shrinksToOne" -}}
{{- if and .Values.cluster.shrinkToOne (eq (int .Values.replicaCount) 1) }}true{{ end -}}
{{- end -}}
