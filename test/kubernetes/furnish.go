package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The namespaces enforce the restricted Pod Security Standard, but for one where users' older manifests go.
const (
	mainNamespace  = "restricted"
	otherNamespace = "others"
	openNamespace  = "open"
	dryNamespace   = "dry"
	monitorsLive   = "monitoring" // unless the chart is told otherwise
)

const volumeCount = 40

// furnish makes what every cluster that is used has: a default storage class, namespaces, and the custom resources that
// the chart can have objects of.
func (c *cluster) furnish(ctx context.Context) error {
	var objects strings.Builder
	objects.WriteString(`apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
`)
	for i := range volumeCount {
		dir := filepath.Join(c.volumes(), fmt.Sprintf("v%02d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		fmt.Fprintf(&objects, `---
apiVersion: v1
kind: PersistentVolume
metadata: {name: v%02d}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: %s}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]
`, i, dir, nodeName)
	}
	for _, namespace := range []string{mainNamespace, otherNamespace, dryNamespace, openNamespace, monitorsLive} {
		level := "restricted"
		if namespace == openNamespace {
			level = "privileged"
		}
		fmt.Fprintf(&objects, `---
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  labels: {pod-security.kubernetes.io/enforce: %[2]s, pod-security.kubernetes.io/warn: %[2]s}
`, namespace, level)
	}
	t := &trial{cluster: c}
	if _, err := t.kubectl(ctx, objects.String(), "apply", "--filename=-"); err != nil {
		return err
	}
	// The large ones do not fit into the annotation that a plain apply keeps.
	if _, err := t.kubectl(ctx, "", "apply", "--server-side", "--filename="+c.program("crds")); err != nil {
		return err
	}
	return until(ctx, 30*time.Second, "every namespace has its account", func(ctx context.Context) error {
		for _, namespace := range []string{mainNamespace, otherNamespace, dryNamespace, openNamespace} {
			var account any
			if err := c.get(ctx, "/api/v1/namespaces/"+namespace+"/serviceaccounts/default", &account); err != nil {
				return err
			}
		}
		return nil
	})
}
