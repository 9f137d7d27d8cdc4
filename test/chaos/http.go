package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// ask is a request, and answer what came back.
type ask struct {
	method, url, body string
	header            map[string]string
	timeout           time.Duration
	adds              bool // a full replica may refuse it: it stores something
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// asker is one client with connections of its own.
type asker struct{ client *http.Client }

func newAsker() *asker {
	return &asker{&http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, MaxIdleConnsPerHost: 4,
		DisableCompression: true,
	}}}
}

func (a *asker) do(q ask) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), q.timeout)
	defer cancel()
	method := q.method
	if method == "" {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, q.url, strings.NewReader(q.body))
	if err != nil {
		return answer{}, err
	}
	for name, value := range q.header {
		request.Header.Set(name, value)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, body}, err
}
