package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// renderings gives the API server what the chart makes of each file of values. It says of what makes pods whether they
// would be within the Pod Security Standard, as a warning; a pod itself it would refuse.
func renderings(ctx context.Context, t *trial) error {
	files, err := filepath.Glob(filepath.Join(t.chart, "ci", "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) < 25 {
		return fmt.Errorf("%s has %d files of values, and at least 25 are wanted",
			filepath.Join(t.chart, "ci"), len(files))
	}
	failed := make([]error, len(files))
	turns := make(chan struct{}, 2)
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := t.valid(ctx, file); err != nil {
				failed[i] = fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// opened is a file of values on purpose beyond the standard: it is valid elsewhere, and has to be refused where the
// standard holds.
const opened = "security-open.yaml"

func (t *trial) valid(ctx context.Context, values string) error {
	if filepath.Base(values) != opened {
		return t.validIn(ctx, dryNamespace, values)
	}
	if err := t.validIn(ctx, dryNamespace, values); err == nil ||
		!strings.Contains(err.Error(), "violates PodSecurity") {
		return fmt.Errorf("it should be refused in a namespace that enforces restricted Pod Security, and came to %w",
			err)
	}
	return t.validIn(ctx, openNamespace, values)
}

var namespaceLine = regexp.MustCompile(`(?m)^  namespace: "?([a-z0-9-]+)"?$`)

func (t *trial) validIn(ctx context.Context, namespace, values string) error {
	rendered, err := t.helm(ctx, "template", "dry", t.chart, "--namespace="+namespace, "--values="+values,
		"--api-versions=monitoring.coreos.com/v1", "--api-versions=gateway.networking.k8s.io/v1")
	if err != nil {
		return err
	}
	for _, line := range namespaceLine.FindAllStringSubmatch(rendered, -1) {
		if err := t.ensureNamespace(ctx, line[1]); err != nil {
			return err
		}
	}
	said, err := t.kubectl(ctx, rendered, "apply", "--dry-run=server", "--filename=-")
	if err != nil {
		return err
	}
	if warned := warnings(said); warned != "" {
		return errors.New(strings.TrimSpace(warned))
	}
	if !strings.Contains(said, "statefulset.apps/") {
		return fmt.Errorf("no StatefulSet is in it: %s", said)
	}
	return nil
}

// ensureNamespace makes a namespace that values name.
func (t *trial) ensureNamespace(ctx context.Context, name string) error {
	body := fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q, "labels": {
  "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}}`, name)
	if _, err := t.raw(ctx, http.MethodPost, "/api/v1/namespaces", body); err != nil &&
		!refused(err, http.StatusConflict) {
		return err
	}
	return nil
}

// waysIn pushes in each way that leads to a replica, and looks for all of it on all pages.
func waysIn(ctx context.Context, r *release) error {
	service, err := r.service(ctx, "")
	if err != nil {
		return err
	}
	pods, err := r.replicas(ctx)
	if err != nil {
		return err
	}
	set, err := r.set(ctx)
	if err != nil {
		return err
	}
	forward := exec.CommandContext(ctx, r.program("kubectl"), "--kubeconfig="+r.kubeconfig(),
		"--namespace="+r.namespace, "port-forward",
		"service/"+set.Metadata.Name, "19091:"+port)
	if err := forward.Start(); err != nil {
		return err
	}
	defer func() {
		_ = forward.Process.Kill() // it may have ended already
		_ = forward.Wait()
	}()
	const forwarded = "http://127.0.0.1:19091"
	leads := answers(forwarded + "/-/ready")
	if err := until(ctx, 20*time.Second, "kubectl port-forward leads to a replica", leads); err != nil {
		return err
	}
	var lines []string
	for by, url := range map[string]string{"service": service, "pod": urlOf(pods[1]), "port_forward": forwarded} {
		if _, err := fetch(ctx, http.DefaultClient, http.MethodPost, url+"/metrics/job/way/by/"+by,
			[]byte("way_in 1\n")); err != nil {
			return fmt.Errorf("push by %s: %w", by, err)
		}
		lines = append(lines, fmt.Sprintf(`way_in{by=%q,instance="",job="way"} 1`, by))
	}
	return r.onEvery(ctx, lines...)
}

//go:embed testdata/pushgateway.yaml
var pushgateway string

const (
	pushgatewayImage   = "prom/pushgateway:v1.5.0"
	pushgatewayAddress = "http://10.4.7.10:" + port // its Service's external address
)

// seedApplied takes a Pushgateway's manifest. It is ready half a minute later, because its probe begins then.
func seedApplied(ctx context.Context, t *trial) error {
	if strings.Count(pushgateway, pushgatewayImage) != 1 {
		return fmt.Errorf("the manifest has not the image %s, once", pushgatewayImage)
	}
	_, err := t.kubectl(ctx, strings.Replace(pushgateway, pushgatewayImage, imageInside, 1), "apply",
		"--namespace="+openNamespace, "--filename=-")
	return err
}

func seedTakesPushes(ctx context.Context, t *trial) error {
	err := until(ctx, 60*time.Second, "the Pushgateway's address leads to a replica",
		answers(pushgatewayAddress+"/-/ready"))
	if err != nil {
		return err
	}
	if _, err := fetch(ctx, http.DefaultClient, http.MethodPost, pushgatewayAddress+"/metrics/job/my_job",
		[]byte("metrics_01 1.0\n")); err != nil {
		return err
	}
	shown, err := freshPage(ctx, pushgatewayAddress)
	if err != nil {
		return err
	}
	for _, want := range []string{`metrics_01{instance="",job="my_job"} 1`, "pushgateway_build_info{"} {
		if !strings.Contains(shown, want) {
			return fmt.Errorf("its page lacks %s", want)
		}
	}
	wipe := pushgatewayAddress + "/api/v1/admin/wipe"
	if _, err := fetch(ctx, http.DefaultClient, http.MethodPut, wipe, nil); err != nil {
		return fmt.Errorf("the manifest allows the wipe: %w", err)
	}
	_, err = t.kubectl(ctx, strings.Replace(pushgateway, pushgatewayImage, imageInside, 1), "delete",
		"--namespace="+openNamespace, "--filename=-")
	return err
}
