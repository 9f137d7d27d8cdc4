package deploy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnUpgradeThatCannotWorkIsRefused lets helm look at an API server that holds what an earlier installation has
// left.
func TestAnUpgradeThatCannotWorkIsRefused(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none")) // of whoever runs this
	const name = "pq-prometheus-pushgateway"
	set := func(replicas, ready int, claims bool, service string) object {
		templates := []any{}
		if claims {
			templates = append(templates, map[string]any{"metadata": map[string]any{"name": "storage-volume"}})
		}
		return object{
			"apiVersion": "apps/v1", "kind": "StatefulSet",
			"metadata": map[string]any{"name": name, "namespace": "batch"},
			"spec":     map[string]any{"replicas": replicas, "serviceName": service, "volumeClaimTemplates": templates},
			"status":   map[string]any{"readyReplicas": ready},
		}
	}
	service := func(ip string) object {
		return object{
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name, "namespace": "batch"},
			"spec": map[string]any{"clusterIP": ip},
		}
	}
	secondClaim := object{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim",
		"metadata": map[string]any{"name": "storage-volume-" + name + "-1", "namespace": "batch"},
	}
	ours := name + "-peers"
	for _, c := range []struct {
		name  string
		there []object
		set   string
		want  string // "": it is taken
	}{
		{"a first installation", nil, "replicaCount=3", ""},
		{
			"nothing changes",
			[]object{set(3, 3, true, ours), service("10.0.0.7")},
			"replicaCount=3,persistentVolume.enabled=true", "",
		},
		{"3 to 5", []object{set(3, 3, true, ours)}, "replicaCount=5,persistentVolume.enabled=true", ""},
		{
			"3 to 1",
			[]object{set(3, 3, true, ours)},
			"replicaCount=1,persistentVolume.enabled=true",
			"set cluster.shrinkToOne=true",
		},
		{"3 to 1, without volumes", []object{set(3, 3, false, ours)}, "replicaCount=1", "an empty state"},
		{
			"3 to 1, as agreed",
			[]object{set(3, 3, true, ours)},
			"replicaCount=1,persistentVolume.enabled=true,cluster.shrinkToOne=true", "",
		},
		{
			"asleep, and one is meant",
			[]object{set(0, 0, true, ours)},
			"replicaCount=1,persistentVolume.enabled=true",
			"",
		},
		{"1 to 3", []object{set(1, 1, true, ours)}, "replicaCount=3,persistentVolume.enabled=true", ""},
		{
			"1 to 3 before it is ready",
			[]object{set(1, 0, true, ours)},
			"replicaCount=3,persistentVolume.enabled=true", "is not ready yet",
		},
		{
			"1 to 3 because it was 3",
			[]object{set(1, 0, true, ours), secondClaim},
			"replicaCount=3,persistentVolume.enabled=true", "",
		},
		{
			"volumes for a set without",
			[]object{set(3, 3, false, ours)},
			"replicaCount=3,persistentVolume.enabled=true", "--cascade=orphan",
		},
		{"no volumes for a set with", []object{set(3, 3, true, ours)}, "replicaCount=3", "--cascade=orphan"},
		{
			"the community chart's StatefulSet",
			[]object{set(1, 1, true, name)},
			"persistentVolume.enabled=true",
			"is not this chart's",
		},
		{"the community chart's headless Service", []object{service("None")}, "replicaCount=1", "is headless"},
	} {
		server := apiServer(t, c.there)
		_, err := render(t, "--dry-run=server", "--kube-apiserver", server, "--set", c.set)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: want it refused because %q, got: %v", c.name, c.want, err)
		}
	}
}

// apiServer serves what helm asks for: which kinds there are, and single objects.
func apiServer(t *testing.T, there []object) string {
	t.Helper()
	resource := func(name, kind string) map[string]any {
		return map[string]any{"name": name, "kind": kind, "namespaced": true, "verbs": []string{"get"}}
	}
	answers := map[string]any{
		"/version": map[string]any{"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
		"/api":     map[string]any{"kind": "APIVersions", "versions": []string{"v1"}},
		"/apis": map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{map[string]any{
			"name": "apps", "versions": []any{map[string]any{"groupVersion": "apps/v1", "version": "v1"}},
		}}},
		"/api/v1": map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{
			resource("services", "Service"), resource("persistentvolumeclaims", "PersistentVolumeClaim"),
		}},
		"/apis/apps/v1": map[string]any{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": []any{
			resource("statefulsets", "StatefulSet"),
		}},
	}
	for _, o := range there {
		base := map[string]string{
			"StatefulSet": "/apis/apps/v1", "Service": "/api/v1", "PersistentVolumeClaim": "/api/v1",
		}[o.text("kind")]
		answers[base+"/namespaces/batch/"+strings.ToLower(o.text("kind"))+"s/"+o.text("metadata", "name")] = o
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]any{
				"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
				"code": http.StatusNotFound,
			}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}
