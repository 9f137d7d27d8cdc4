package main

import (
	"slices"
	"testing"
)

func TestTheMonitorsOwnRulesComeAfterTheOperators(t *testing.T) {
	m := &monitor{Kind: "ServiceMonitor"}
	m.Metadata.Namespace, m.Metadata.Name = "monitoring", "three"
	m.Spec.Selector.MatchLabels = map[string]string{"app.kubernetes.io/name": "x"}
	m.Spec.Endpoints = []endpoint{{Port: "read", HonorLabels: true, Relabelings: []map[string]any{{
		"sourceLabels": []any{"__meta_kubernetes_namespace"}, "targetLabel": "__address__",
		"replacement": "read.$1.svc:9091",
	}}}}
	job := m.job("targets.json")
	rules := job["relabel_configs"].([]relabeling)
	at := func(does string, is func(relabeling) bool) int {
		t.Helper()
		i := slices.IndexFunc(rules, is)
		if i < 0 {
			t.Fatalf("want a rule that %s, got %v", does, rules)
		}
		return i
	}
	selected := at("keeps the selected Services", func(r relabeling) bool {
		labels, _ := r["source_labels"].([]string)
		return r["action"] == "keep" && slices.Contains(labels,
			"__meta_kubernetes_service_label_app_kubernetes_io_name") && r["regex"] == "(x);true"
	})
	pod := at("tells the pods apart", func(r relabeling) bool { return r["target_label"] == "pod" })
	own := at("is the monitor's own", func(r relabeling) bool { return r["target_label"] == "__address__" })
	shard := at("shares the targets", func(r relabeling) bool { return r["action"] == "hashmod" })
	if selected > pod || pod > own || own > shard {
		t.Errorf("want selection, the operator's labels, the monitor's own, sharing; got rules %d, %d, %d, %d",
			selected, pod, own, shard)
	}
	if want := "servicemonitor/monitoring/three/0"; job["job_name"] != want || job["honor_labels"] != true {
		t.Errorf("want the job %s that honours labels, got %v, %v", want, job["job_name"], job["honor_labels"])
	}
	if got := m.namespaces(); !slices.Equal(got, []string{"monitoring"}) {
		t.Errorf("want the monitor's own namespace where it selects none, got %v", got)
	}
}
