package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// scraper scrapes one path of a server in one form over one connection.
type scraper struct {
	conn    *httpConn
	form    form
	request []byte
	least   int64 // bytes: a shorter answer is not the page that was meant
}

func newScraper(ctx context.Context, address, path string, f form) (*scraper, error) {
	conn, err := dialHTTP(ctx, address, scrapeBuffer)
	if err != nil {
		return nil, err
	}
	return &scraper{conn: conn, form: f, request: request(http.MethodGet, path, f.header...)}, nil
}

func (s *scraper) close() { s.conn.close() }

// scrape takes the page and throws it away. The time is from the request to the last byte.
func (s *scraper) scrape() (time.Duration, error) {
	began := time.Now()
	err := s.into(nil)
	return time.Since(began), err
}

// into takes the page, and will not take anything else for it.
func (s *scraper) into(w io.Writer) error {
	if err := s.conn.within(maxWait); err != nil {
		return err
	}
	a, err := s.conn.do(s.request, w)
	if err != nil {
		return err
	}
	f := s.form
	if a.status != http.StatusOK || !strings.HasPrefix(a.contentType, f.contentType) ||
		a.contentEncoding != f.contentEncoding || a.bytes < s.least {
		return fmt.Errorf("a scrape of %s as %s: status %d, %q, encoding %q, %d bytes (at least %d were expected)",
			s.conn.address, f.name, a.status, a.contentType, a.contentEncoding, a.bytes, s.least)
	}
	return nil
}

// page takes the page, checks that it has the series of so many groups, and will not take a much smaller one for it
// later.
func (s *scraper) page(groups int) ([]byte, error) {
	var page bytes.Buffer
	if err := s.into(&page); err != nil {
		return nil, err
	}
	n, err := seriesIn(page.Bytes(), s.form)
	if err != nil {
		return nil, fmt.Errorf("the page of %s as %s: %w", s.conn.address, s.form.name, err)
	}
	if n != groups*seriesPerPush {
		return nil, fmt.Errorf("the page of %s as %s has %d series, want %d: the figures are not those of the work",
			s.conn.address, s.form.name, n, groups*seriesPerPush)
	}
	s.least = int64(page.Len()) * 9 / 10
	return page.Bytes(), nil
}

// seriesIn counts the series that were pushed here.
func seriesIn(page []byte, f form) (n int, err error) {
	if f.contentEncoding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(page))
		if err != nil {
			return 0, err
		}
		if page, err = io.ReadAll(z); err != nil {
			return 0, err
		}
	}
	if f.contentType == "text/plain" {
		for line := range bytes.Lines(page) {
			if bytes.HasPrefix(line, []byte("bench_")) {
				n++
			}
		}
		return n, nil
	}
	decoder := expfmt.NewDecoder(bytes.NewReader(page), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if strings.HasPrefix(family.GetName(), "bench_") {
			n += len(family.GetMetric())
		}
	}
}

// mustHold checks that every server of the service shows the series of so many groups.
func mustHold(ctx context.Context, w *web, groups int) error {
	for _, address := range w.at {
		s, err := newScraper(ctx, address, "/metrics", forms()[0])
		if err != nil {
			return err
		}
		_, err = s.page(groups)
		s.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// mustShow pushes through one server and checks that the next scrape of another one shows it.
func mustShow(ctx context.Context, w *web, pushAt, scrapeAt int) error {
	c, err := w.dial(ctx, pushAt, 1)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.push(7); err != nil {
		return err
	}
	value := c.value(seriesPerPush - 1)
	for _, f := range []form{forms()[0], forms()[2]} {
		page, err := fetch(ctx, w.at[scrapeAt], "/metrics", f.header...)
		if err != nil {
			return err
		}
		if f.contentEncoding == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(page))
			if err != nil {
				return err
			}
			if page, err = io.ReadAll(z); err != nil {
				return err
			}
		}
		group := fmt.Sprintf("host-%0*d", groupDigits, 7)
		shown := slices.ContainsFunc(slices.Collect(bytes.Lines(page)), func(line []byte) bool {
			return bytes.Contains(line, []byte(group)) && bytes.HasSuffix(line, []byte(" "+value+"\n"))
		})
		if !shown {
			return fmt.Errorf("%s does not show, as %s, the value %s that was pushed to %s before",
				w.at[scrapeAt], f.name, value, w.at[pushAt])
		}
	}
	return nil
}

// pushSome changes n random groups over one connection, so that the next scrape is not the last one again.
func pushSome(ctx context.Context, s service, n, groups int) error {
	d, err := newDrive(ctx, s, 1, groups)
	if err != nil {
		return err
	}
	defer d.close()
	_, err = d.count(n)
	return err
}
