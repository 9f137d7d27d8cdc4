// Package deploy_test holds the chart to what its users expect, by rendering it. Whether what it renders works is for a
// real Kubernetes to say: test/kubernetes.
package deploy_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const chart = "helm/pushquorum"

// helm is the program: that of PUSHQUORUM_HELM, else what the tests on a real Kubernetes have built, else the one on
// PATH.
func helm(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PUSHQUORUM_HELM"); path != "" {
		return path
	}
	if path, err := filepath.Abs("../bin/kubernetes/helm"); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath("helm")
	if err == nil {
		return path
	}
	if os.Getenv("PUSHQUORUM_REQUIRE_HELM") == "1" {
		t.Fatal("there is no helm: neither bin/kubernetes/helm nor on PATH")
	}
	t.Skip("there is no helm: neither bin/kubernetes/helm nor on PATH")
	return ""
}

// render renders the chart as release pq in namespace batch.
func render(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"template", "pq", chart, "--namespace", "batch", "--kube-version", "1.34.0"}, args...)
	command := exec.Command(helm(t), args...)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil {
		return "", errors.New(strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

func mustRender(t *testing.T, args ...string) string {
	t.Helper()
	out, err := render(t, args...)
	if err != nil {
		t.Fatalf("helm template %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// object is one of Kubernetes'.
type object map[string]any

// objects reads a stream of documents.
func objects(t *testing.T, text string) []object {
	t.Helper()
	var out []object
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		switch err := d.Decode(&o); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			t.Fatalf("what was rendered is no YAML: %v\n%s", err, text)
		case o != nil:
			out = append(out, o)
		}
	}
}

// at follows a path of keys and indexes, and is nil where there is nothing.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m := asMap(v)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// asMap is nil for what is no map.
func asMap(v any) map[string]any {
	switch m := v.(type) {
	case map[string]any:
		return m
	case object:
		return m
	}
	return nil
}

func (o object) text(path ...any) string {
	s, _ := o.at(path...).(string)
	return s
}

func (o object) list(path ...any) []any {
	l, _ := o.at(path...).([]any)
	return l
}

func (o object) String() string {
	return o.text("kind") + " " + o.text("metadata", "namespace") + "/" + o.text("metadata", "name")
}

// one is the only object of that kind, and with that name if one is given.
func one(t *testing.T, all []object, kind, name string) object {
	t.Helper()
	var found object
	for _, o := range all {
		if o.text("kind") == kind && (name == "" || o.text("metadata", "name") == name) {
			if found != nil {
				t.Fatalf("there are two: %s and %s", found, o)
			}
			found = o
		}
	}
	if found == nil {
		t.Fatalf("there is no %s %s among %v", kind, name, all)
	}
	return found
}

// container is the one that runs PushQuorum.
func container(t *testing.T, set object) object {
	t.Helper()
	for _, c := range set.list("spec", "template", "spec", "containers") {
		if m := asMap(c); m["name"] == "pushgateway" {
			return m
		}
	}
	t.Fatal("no container is called pushgateway")
	return nil
}

func args(t *testing.T, set object) []string {
	t.Helper()
	var out []string
	for _, a := range container(t, set).list("args") {
		out = append(out, a.(string))
	}
	return out
}

func decode(t *testing.T, text string) string {
	t.Helper()
	out, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// kindsOf are the kinds there are, in order.
func kindsOf(all []object) string {
	var kinds []string
	for _, o := range all {
		kinds = append(kinds, o.text("kind"))
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}
