package main

import (
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"time"
)

// persistenceFile is that of a Pushgateway to which old_metric was pushed, and nothing else.
//
//go:embed testdata/pushgateway.persistence
var persistenceFile []byte

// oldClaim is what the Deployment of the community chart leaves: a claim with a persistence file.
const oldClaim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: old-gateway}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: old-gateway}
binaryData: {file: %s}
---
apiVersion: v1
kind: Pod
metadata: {name: old-gateway}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65534, fsGroup: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: write
    image: ` + imageInside + `-debug
    imagePullPolicy: Never
    command: [/bin/cp, /from/file, /data/pushgateway.data]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: from, mountPath: /from}, {name: data, mountPath: /data}]
  volumes:
  - {name: from, configMap: {name: old-gateway}}
  - {name: data, persistentVolumeClaim: {claimName: old-gateway}}
`

// imported: the values of a user of the community chart, whose claim is imported by one replica, which then becomes
// three.
func imported(ctx context.Context, r *release) error {
	in := "--namespace=" + r.namespace
	if _, err := r.kubectl(ctx, fmt.Sprintf(oldClaim, base64.StdEncoding.EncodeToString(persistenceFile)), in, "apply",
		"-f", "-"); err != nil {
		return err
	}
	if _, err := r.kubectl(ctx, "", in, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/old-gateway",
		"--timeout=60s"); err != nil {
		return err
	}
	flag := "--set=extraArgs={--web.enable-admin-api,--persistence.file=/data/pushgateway.data}"
	if err := r.install(ctx, "--set=persistentVolume.existingClaim=old-gateway", flag); err != nil {
		return err
	}
	if err := r.settled(ctx, 1, 60*time.Second); err != nil {
		return err
	}
	old := `old_metric{instance="",job="old"} 7`
	if err := r.onEvery(ctx, old); err != nil {
		return err
	}
	if err := r.install(ctx, "--set=replicaCount=3", flag); err != nil {
		return err
	}
	if err := r.settled(ctx, 3, 120*time.Second); err != nil {
		return err
	}
	if err := r.onEvery(ctx, old); err != nil {
		return err
	}
	if err := r.uninstall(ctx); err != nil {
		return err
	}
	_, err := r.kubectl(ctx, "", in, "delete", "pod/old-gateway", "configmap/old-gateway", "pvc/old-gateway")
	return err
}
