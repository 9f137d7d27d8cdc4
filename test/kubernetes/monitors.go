package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// monitor has what is made a scrape configuration of, of a ServiceMonitor or a PodMonitor.
type monitor struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		NamespaceSelector   struct{ MatchNames []string }
		Selector            struct{ MatchLabels map[string]string }
		Endpoints           []endpoint
		PodMetricsEndpoints []endpoint
	}
}

type endpoint struct {
	Port, Path, Interval string
	HonorLabels          bool
	Relabelings          []map[string]any
}

type relabeling map[string]any

// job is what the operator gives Prometheus for the first endpoint of a monitor: first the rules that it has for every
// monitor of that kind, then the monitor's own, and at last those that share the targets among several Prometheus
// servers. But for the discovery: the targets come in a file.
func (m *monitor) job(targets string) map[string]any {
	role, subject, from := "endpoints", "service", m.Spec.Endpoints
	if m.Kind == "PodMonitor" {
		role, subject, from = "pod", "pod", m.Spec.PodMetricsEndpoints
	}
	e := from[0]
	rules := []relabeling{{"source_labels": []string{"job"}, "target_label": "__tmp_prometheus_job_name"}}
	if role == "pod" {
		rules = append(rules, dropEnded)
	}
	for _, label := range slices.Sorted(maps.Keys(m.Spec.Selector.MatchLabels)) {
		name := "__meta_kubernetes_" + subject + "_label"
		word := labelWord.Replace(label)
		rules = append(rules, relabeling{
			"action": "keep", "source_labels": []string{name + "_" + word, name + "present_" + word},
			"regex": fmt.Sprintf("(%s);true", m.Spec.Selector.MatchLabels[label]),
		})
	}
	copied := func(from, to string) relabeling {
		return relabeling{"source_labels": []string{"__meta_kubernetes_" + from}, "target_label": to}
	}
	if role == "pod" {
		rules = append(rules,
			relabeling{
				"action": "keep", "source_labels": []string{"__meta_kubernetes_pod_container_port_name"},
				"regex": e.Port,
			},
			copied("namespace", "namespace"), copied("pod_container_name", "container"), copied("pod_name", "pod"),
			relabeling{"target_label": "job", "replacement": m.Metadata.Namespace + "/" + m.Metadata.Name},
		)
	} else {
		target := []string{
			"__meta_kubernetes_endpoint_address_target_kind", "__meta_kubernetes_endpoint_address_target_name",
		}
		rules = append(rules,
			relabeling{
				"action": "keep", "source_labels": []string{"__meta_kubernetes_endpoint_port_name"}, "regex": e.Port,
			},
			relabeling{
				"source_labels": target, "separator": ";", "regex": "Node;(.*)", "replacement": "${1}",
				"target_label": "node",
			},
			relabeling{
				"source_labels": target, "separator": ";", "regex": "Pod;(.*)", "replacement": "${1}",
				"target_label": "pod",
			},
			copied("namespace", "namespace"), copied("service_name", "service"), copied("pod_name", "pod"),
			copied("pod_container_name", "container"), dropEnded, copied("service_name", "job"),
		)
	}
	rules = append(rules, relabeling{"target_label": "endpoint", "replacement": e.Port})
	for _, own := range e.Relabelings {
		rules = append(rules, inPrometheus(own))
	}
	rules = append(rules,
		relabeling{
			"source_labels": []string{"__address__"}, "target_label": "__tmp_hash", "modulus": 1, "action": "hashmod",
		},
		relabeling{"source_labels": []string{"__tmp_hash"}, "regex": "0", "action": "keep"},
	)
	job := map[string]any{
		"job_name": m.jobName(), "honor_labels": e.HonorLabels,
		"file_sd_configs": []any{map[string]any{"files": []string{targets}}},
		"relabel_configs": rules,
	}
	if e.Path != "" {
		job["metrics_path"] = e.Path
	}
	return job
}

func (m *monitor) jobName() string {
	return fmt.Sprintf("%s/%s/%s/0", strings.ToLower(m.Kind), m.Metadata.Namespace, m.Metadata.Name)
}

// namespaces are those whose objects the monitor selects.
func (m *monitor) namespaces() []string {
	if len(m.Spec.NamespaceSelector.MatchNames) > 0 {
		return m.Spec.NamespaceSelector.MatchNames
	}
	return []string{m.Metadata.Namespace}
}

// dropEnded leaves out pods that have ended but are still known.
var dropEnded = relabeling{
	"action": "drop", "source_labels": []string{"__meta_kubernetes_pod_phase"}, "regex": "(Failed|Succeeded)",
}

// inPrometheus writes a rule of a monitor as Prometheus has it: sourceLabels is source_labels.
func inPrometheus(rule map[string]any) relabeling {
	names := map[string]string{"sourceLabels": "source_labels", "targetLabel": "target_label"}
	written := relabeling{}
	for name, value := range rule {
		if other, ok := names[name]; ok {
			name = other
		}
		written[name] = value
	}
	return written
}

// prometheusConfig scrapes each monitor's targets every second. YAML has JSON in it.
func prometheusConfig(jobs ...map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{
		"global": map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs,
	})
}
