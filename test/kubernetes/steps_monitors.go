package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const prometheusURL = "http://127.0.0.1:9090"

// monitored lets a real Prometheus scrape what the monitors lead to, and counts what it has. The ServiceMonitor without
// its own relabelings is there as a control: it must give three targets, or else nothing is proven by the one.
func monitored(ctx context.Context, r *release) error {
	service, err := r.service(ctx, "")
	if err != nil {
		return err
	}
	for i := range 5 {
		body := fmt.Appendf(nil, "monitored_a %d\nmonitored_b %d\n", i, i)
		if _, err := fetch(ctx, http.DefaultClient, http.MethodPut,
			fmt.Sprintf("%s/metrics/job/monitored/n/%d", service, i), body); err != nil {
			return err
		}
	}
	ofService, err := r.monitor(ctx, "servicemonitors")
	if err != nil {
		return err
	}
	ofPods, err := r.monitor(ctx, "podmonitors")
	if err != nil {
		return err
	}
	control := ofService
	control.Metadata.Name = "control"
	control.Spec.Endpoints = []endpoint{ofService.Spec.Endpoints[0]}
	control.Spec.Endpoints[0].Relabelings = []map[string]any{{"targetLabel": "control", "replacement": "yes"}}
	var jobs []map[string]any
	for i, m := range []*monitor{&ofService, &ofPods, &control} {
		targets := filepath.Join(r.dir, fmt.Sprintf("targets-%d.json", i))
		if err := r.discover(ctx, m, targets); err != nil {
			return err
		}
		jobs = append(jobs, m.job(targets))
	}
	config, err := prometheusConfig(jobs...)
	if err != nil {
		return err
	}
	file := filepath.Join(r.dir, "prometheus.yaml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		return err
	}
	err = r.start("prometheus", "prometheus", "--config.file="+file, "--storage.tsdb.path="+state+"/prometheus",
		"--web.listen-address=127.0.0.1:9090")
	if err != nil {
		return err
	}
	defer func() {
		_ = r.components["prometheus"].Stop(10 * time.Second) // it is killed then
		delete(r.components, "prometheus")
	}()
	expected := []count{
		{`count by (__name__) ({__name__=~"monitored_.*", control=""})`, map[string]int{
			"monitored_a": 5, "monitored_b": 5,
		}},
		{`count by (__name__) ({__name__=~"monitored_.*", control="yes"})`, map[string]int{
			"monitored_a": 15, "monitored_b": 15,
		}},
		{`count by (__name__) ({__name__="process_start_time_seconds"})`, map[string]int{
			"process_start_time_seconds": 3,
		}},
	}
	return until(ctx, 60*time.Second, "Prometheus has what was pushed once", func(ctx context.Context) error {
		targets := targets(ctx, map[string]int{ofService.jobName(): 1, ofPods.jobName(): 3, control.jobName(): 3})
		return errors.Join(targets, counted(ctx, expected))
	})
}

// targets compares how many each job has.
func targets(ctx context.Context, want map[string]int) error {
	var answer struct {
		Data struct {
			ActiveTargets []struct{ ScrapePool, Health, ScrapeURL, LastError string }
		}
	}
	if err := ask(ctx, "/api/v1/targets?state=active", &answer); err != nil {
		return err
	}
	have := map[string]int{}
	for _, target := range answer.Data.ActiveTargets {
		if target.Health == "up" {
			have[target.ScrapePool]++
		}
	}
	if !maps.Equal(have, want) {
		return fmt.Errorf("targets that are up: %v, and wanted are %v; all of them: %+v",
			have, want, answer.Data.ActiveTargets)
	}
	return nil
}

// count is a query, and what it should give for each name of a metric.
type count struct {
	query string
	want  map[string]int
}

func counted(ctx context.Context, expected []count) error {
	for _, e := range expected {
		var answer struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
				}
			}
		}
		if err := ask(ctx, "/api/v1/query?query="+url.QueryEscape(e.query), &answer); err != nil {
			return err
		}
		have := map[string]int{}
		for _, result := range answer.Data.Result {
			n, err := strconv.Atoi(fmt.Sprint(result.Value[1]))
			if err != nil {
				return err
			}
			have[result.Metric["__name__"]] = n
		}
		if !maps.Equal(have, e.want) {
			return fmt.Errorf("%s gives %v, and wanted is %v", e.query, have, e.want)
		}
	}
	return nil
}

// ask asks Prometheus.
func ask(ctx context.Context, path string, into any) error {
	body, err := fetch(ctx, http.DefaultClient, http.MethodGet, prometheusURL+path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (r *release) monitor(ctx context.Context, kind string) (monitor, error) {
	var list struct{ Items []monitor }
	err := r.get(ctx, "/apis/monitoring.coreos.com/v1/"+kind+"?labelSelector="+r.labels(), &list)
	if err == nil && len(list.Items) != 1 {
		err = fmt.Errorf("release %s has %d %s, and not one", r.name, len(list.Items), kind)
	}
	if err != nil {
		return monitor{}, err
	}
	return list.Items[0], nil
}
