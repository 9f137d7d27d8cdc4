package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// ask is a request, and answer what came back.
type ask struct {
	method, url string
	body        io.Reader
	length      int64 // of a body that does not say it itself; 0: nobody is told
	header      map[string]string
	forget      bool // the body of a good answer is read and thrown away
}

type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// newClient keeps connections for as many requests at a time; 0 makes a new one for each, as a script does.
func newClient(connections int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			DisableCompression: true, DisableKeepAlives: connections == 0, MaxIdleConnsPerHost: connections,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func do(ctx context.Context, client *http.Client, q ask) (answer, error) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, q.method, q.url, q.body)
	if err != nil {
		return answer{}, err
	}
	if q.length > 0 {
		request.ContentLength = q.length
	}
	for name, value := range q.header {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{took: time.Since(began)}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	if q.forget && a.good() {
		_, err = io.Copy(io.Discard, response.Body)
	} else {
		var text strings.Builder
		_, err = io.Copy(&text, response.Body)
		a.body = text.String()
	}
	a.took = time.Since(began)
	return a, err
}

func (a answer) good() bool { return a.status/100 == 2 }

// refusal is nil for an answer that is good or says in one line why it is not.
func (a answer) refusal() error {
	reason := strings.TrimSpace(a.body)
	if a.good() || reason != "" && !strings.Contains(reason, "\n") {
		return nil
	}
	return fmt.Errorf("an answer of status %d does not say why in one line: %.200q", a.status, reason)
}

// attempt tries until there is no error, and returns the last one when there is one after the time.
func attempt(ctx context.Context, within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil || errors.As(err, new(hopeless)) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", within, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// hopeless is an error that waiting cannot mend.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }
