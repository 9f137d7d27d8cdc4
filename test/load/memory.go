package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// form is one of the three that a page is scraped in.
type form struct {
	name   string
	header []string // of the request
	// contentType and contentEncoding are how the answer begins to say that it is in this form.
	contentType, contentEncoding string
}

const protobufType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

func forms() []form {
	return []form{
		{name: "text", contentType: "text/plain"},
		{name: "protobuf", header: []string{"Accept: " + protobufType}, contentType: "application/vnd.google.protobuf"},
		{name: "gzip", header: []string{"Accept-Encoding: gzip"}, contentType: "text/plain", contentEncoding: "gzip"},
	}
}

// serveMemory serves the pages that are in the directory from memory until ctx ends: what net/http needs for as many
// bytes is what a scrape is measured against.
func serveMemory(ctx context.Context, listen, dir string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	for _, f := range forms() {
		page, err := os.ReadFile(filepath.Join(dir, f.name))
		if err != nil {
			return err
		}
		mux.HandleFunc("/"+f.name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", f.contentType)
			w.Header().Set("Content-Length", strconv.Itoa(len(page)))
			if f.contentEncoding != "" {
				w.Header().Set("Content-Encoding", f.contentEncoding)
			}
			_, _ = w.Write(page)
		})
	}
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
