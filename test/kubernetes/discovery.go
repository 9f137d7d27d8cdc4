package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Debian's Prometheus is built without the discovery of Kubernetes. So what that would find is asked for here, and
// handed over in a file, with the labels that Prometheus documents for the roles endpoints and pod; it relabels, drops
// and scrapes by itself.

// found is a target before relabeling.
type found struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

type portOf struct {
	Name, Protocol string
	Port           int
}

type endpointsList struct {
	Items []struct {
		Metadata struct{ Name string }
		Subsets  []struct {
			Addresses, NotReadyAddresses []struct {
				IP, NodeName string
				TargetRef    struct{ Kind, Name string }
			}
			Ports []portOf
		}
	}
}

type serviceList struct {
	Items []struct {
		Metadata struct {
			Name   string
			Labels map[string]string
		}
	}
}

type podList struct {
	Items []struct {
		Metadata struct {
			Name, UID string
			Labels    map[string]string
		}
		Spec struct {
			NodeName   string
			Containers []struct {
				Name  string
				Ports []struct {
					Name, Protocol string
					ContainerPort  int
				}
			}
		}
		Status struct{ PodIP, Phase string }
	}
}

const meta = "__meta_kubernetes_"

// labelled adds an object's labels, with their names as Prometheus can have them.
func labelled(into map[string]string, object string, labels map[string]string) {
	for name, value := range labels {
		word := labelWord.Replace(name)
		into[meta+object+"_label_"+word] = value
		into[meta+object+"_labelpresent_"+word] = "true"
	}
}

var labelWord = strings.NewReplacer(".", "_", "/", "_", "-", "_")

// discoverEndpoints finds each port of each address behind each Service.
func (a *api) discoverEndpoints(ctx context.Context, namespace string) (all []found, err error) {
	var endpoints endpointsList
	var services serviceList
	if err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/endpoints", &endpoints); err != nil {
		return nil, err
	}
	if err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/services", &services); err != nil {
		return nil, err
	}
	pods, err := a.podLabels(ctx, namespace)
	if err != nil {
		return nil, err
	}
	labelsOf := map[string]map[string]string{}
	for _, s := range services.Items {
		labelsOf[s.Metadata.Name] = s.Metadata.Labels
	}
	for _, e := range endpoints.Items {
		for _, subset := range e.Subsets {
			for i, address := range append(subset.Addresses, subset.NotReadyAddresses...) {
				for _, port := range subset.Ports {
					labels := map[string]string{
						meta + "namespace": namespace, meta + "endpoints_name": e.Metadata.Name,
						meta + "service_name":       e.Metadata.Name,
						meta + "endpoint_port_name": port.Name, meta + "endpoint_port_protocol": port.Protocol,
						meta + "endpoint_ready":               strconv.FormatBool(i < len(subset.Addresses)),
						meta + "endpoint_address_target_kind": address.TargetRef.Kind,
						meta + "endpoint_address_target_name": address.TargetRef.Name,
						meta + "endpoint_node_name":           address.NodeName,
					}
					labelled(labels, "service", labelsOf[e.Metadata.Name])
					for name, value := range pods[address.TargetRef.Name] {
						labels[name] = value
					}
					all = append(all, found{[]string{fmt.Sprintf("%s:%d", address.IP, port.Port)}, labels})
				}
			}
		}
	}
	return all, nil
}

// podLabels are what is known of each pod, by its name.
func (a *api) podLabels(ctx context.Context, namespace string) (map[string]map[string]string, error) {
	var pods podList
	if err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/pods", &pods); err != nil {
		return nil, err
	}
	all := map[string]map[string]string{}
	for _, p := range pods.Items {
		all[p.Metadata.Name] = map[string]string{
			meta + "namespace": namespace, meta + "pod_name": p.Metadata.Name, meta + "pod_ip": p.Status.PodIP,
			meta + "pod_phase": p.Status.Phase,
			meta + "pod_uid":   p.Metadata.UID, meta + "pod_node_name": p.Spec.NodeName,
			meta + "pod_container_name": p.Spec.Containers[0].Name,
		}
		labelled(all[p.Metadata.Name], "pod", p.Metadata.Labels)
	}
	return all, nil
}

// discoverPods finds each port of each container.
func (a *api) discoverPods(ctx context.Context, namespace string) (all []found, err error) {
	var pods podList
	if err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/pods", &pods); err != nil {
		return nil, err
	}
	known, err := a.podLabels(ctx, namespace)
	if err != nil {
		return nil, err
	}
	for _, p := range pods.Items {
		for _, container := range p.Spec.Containers {
			for _, port := range container.Ports {
				labels := map[string]string{
					meta + "pod_container_name": container.Name, meta + "pod_container_port_name": port.Name,
					meta + "pod_container_port_number":   strconv.Itoa(port.ContainerPort),
					meta + "pod_container_port_protocol": port.Protocol,
				}
				for name, value := range known[p.Metadata.Name] {
					labels[name] = value
				}
				all = append(all, found{[]string{fmt.Sprintf("%s:%d", p.Status.PodIP, port.ContainerPort)}, labels})
			}
		}
	}
	return all, nil
}

// discover writes what a monitor's role finds in its namespaces.
func (a *api) discover(ctx context.Context, m *monitor, file string) error {
	find := a.discoverEndpoints
	if m.Kind == "PodMonitor" {
		find = a.discoverPods
	}
	var all []found
	for _, namespace := range m.namespaces() {
		some, err := find(ctx, namespace)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	content, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}
