package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// api asks the API server what is so. What users do is done with kubectl and helm, as they do it; looking at a
// condition ten times a second is cheaper without starting a program each time.
type api struct{ client *http.Client }

func newAPI(certs string) (*api, error) {
	authority, err := os.ReadFile(filepath.Join(certs, "authority.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	admin, err := tls.LoadX509KeyPair(filepath.Join(certs, "admin.crt"), filepath.Join(certs, "admin.key"))
	if err != nil {
		return nil, err
	}
	return &api{&http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: pool, Certificates: []tls.Certificate{admin}, MinVersion: tls.VersionTLS13,
		},
	}}}, nil
}

// refusal is an answer that is not 2xx.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, strings.TrimSpace(r.body)) }

// refused says whether an answer had that status.
func refused(err error, status int) bool {
	r := (*refusal)(nil)
	return errors.As(err, &r) && r.status == status
}

// fetch is one request and the body of its answer, which is 2xx.
func fetch(ctx context.Context, client *http.Client, method, url string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil && strings.HasPrefix(url, "https:") {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, &refusal{response.StatusCode, string(answer[:min(len(answer), 500)])}
	}
	return answer, nil
}

func (a *api) raw(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return fetch(ctx, a.client, method, "https://"+nodeAddress+":6443"+path, body)
}

// get reads an object, or a list of them, into what has the fields that are wanted.
func (a *api) get(ctx context.Context, path string, into any) error {
	body, err := a.raw(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// pod has what is looked at of a pod.
type pod struct {
	Metadata struct {
		Name, UID         string
		DeletionTimestamp string
		Labels            map[string]string
	}
	Status struct {
		PodIP             string
		Phase             string
		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct {
			Name, ContainerID string
			RestartCount      int
		}
	}
}

func (p *pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True" && p.Metadata.DeletionTimestamp == ""
		}
	}
	return false
}

// pods are those of a namespace that have the labels.
func (a *api) pods(ctx context.Context, namespace, labels string) ([]pod, error) {
	var list struct{ Items []pod }
	err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/pods?labelSelector="+strings.ReplaceAll(labels, ",", "%2C"),
		&list)
	return list.Items, err
}
