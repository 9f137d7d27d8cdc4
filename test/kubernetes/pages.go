package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// page is what a URL answers, whatever the status.
func page(ctx context.Context, url string) (status int, header http.Header, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(text), err
}

// freshPage is a page that has everything acknowledged before it was asked for.
func freshPage(ctx context.Context, url string) (fresh string, err error) {
	err = until(ctx, 20*time.Second, "a page that is not stale", func(ctx context.Context) error {
		status, header, body, err := page(ctx, url+"/metrics")
		if err != nil {
			return err
		}
		if stale := header.Get(staleHeader); status != http.StatusOK || stale != "" {
			return fmt.Errorf("%s: %d, stale for %q: %.100q", url, status, stale, body)
		}
		fresh = body
		return nil
	})
	return fresh, err
}

// stalePage holds when a page is served, says that it is stale, and has a line.
func stalePage(ctx context.Context, url, line string) error {
	status, header, body, err := page(ctx, url+"/metrics")
	if err != nil {
		return err
	}
	if status != http.StatusOK || header.Get(staleHeader) == "" || !strings.Contains(body, line) {
		return fmt.Errorf("%d, stale for %q, %d bytes: %.100q", status, header.Get(staleHeader), len(body), body)
	}
	return nil
}

// onEvery looks for lines on the pages of all replicas, which have to be the same bytes.
func (r *release) onEvery(ctx context.Context, lines ...string) error {
	pods, err := r.replicas(ctx)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return errors.New("there are no replicas")
	}
	first := ""
	for i := range pods {
		fresh, err := freshPage(ctx, urlOf(pods[i]))
		if err != nil {
			return err
		}
		for _, line := range lines {
			if !strings.Contains("\n"+fresh, "\n"+line+"\n") {
				return fmt.Errorf("%s does not show %s, but %.300q", pods[i].Metadata.Name, line, fresh)
			}
		}
		if i > 0 && fresh != first {
			return fmt.Errorf("the pages of %s and %s differ", pods[0].Metadata.Name, pods[i].Metadata.Name)
		}
		first = fresh
	}
	return nil
}
