package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// httpConn is one HTTP/1.1 connection that is kept alive. The generator shares the processors with the servers it
// measures, and net/http's client costs as much as some of them: here a request is one write of bytes that are there
// already, and an answer is read no further than is needed to know where it ends.
type httpConn struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// answer is what is known of a response beside its body.
type answer struct {
	status          int
	bytes           int64 // of the body, as it was sent
	contentType     string
	contentEncoding string
}

const (
	pushBuffer   = 4 << 10
	scrapeBuffer = 256 << 10
)

func dialHTTP(ctx context.Context, address string, buffer int) (*httpConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &httpConn{address: address, conn: conn, in: bufio.NewReaderSize(conn, buffer)}, nil
}

func (c *httpConn) close() { _ = c.conn.Close() }

// within bounds everything that follows; a deadline for each request would cost more than the request.
func (c *httpConn) within(d time.Duration) error { return c.conn.SetDeadline(time.Now().Add(d)) }

// do sends a request and reads the whole answer. The body goes to body, or nowhere when that is nil. Any status is a
// good answer here; an error means that the connection is of no use any more.
func (c *httpConn) do(request []byte, body io.Writer) (answer, error) {
	if _, err := c.conn.Write(request); err != nil {
		return answer{}, err
	}
	return c.read(body)
}

func (c *httpConn) read(body io.Writer) (a answer, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return a, fmt.Errorf("reading the answer of %s: %w", c.address, err)
	}
	if a.status, err = statusOf(line); err != nil {
		return a, err
	}
	length, chunked := int64(-1), false
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return a, fmt.Errorf("reading the header of %s: %w", c.address, err)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return a, fmt.Errorf("content length %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Content-Type")):
			a.contentType = string(value)
		case bytes.EqualFold(name, []byte("Content-Encoding")):
			a.contentEncoding = string(value)
		}
	}
	switch {
	case chunked:
		a.bytes, err = c.chunks(body)
	case length >= 0:
		a.bytes, err = c.take(length, body)
	case a.status != http.StatusNoContent:
		err = fmt.Errorf("%s answers %d with a body of unknown length", c.address, a.status)
	}
	return a, err
}

// chunks reads a chunked body to its end. An answer that stops before its last chunk is an error, never a short body.
func (c *httpConn) chunks(body io.Writer) (total int64, err error) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return total, fmt.Errorf("the body of %s ends after %d bytes: %w", c.address, total, err)
		}
		size, err := strconv.ParseInt(string(bytes.TrimRight(line, "\r\n")), 16, 64)
		if err != nil {
			return total, fmt.Errorf("chunk size %q", line)
		}
		if _, err := c.take(size, body); err != nil {
			return total, err
		}
		total += size
		if end, err := c.in.ReadSlice('\n'); err != nil || len(bytes.TrimRight(end, "\r\n")) > 0 {
			return total, fmt.Errorf("no end of line after %d bytes of body: %q (%w)", total, end, err)
		}
		if size == 0 {
			return total, nil
		}
	}
}

func (c *httpConn) take(n int64, body io.Writer) (int64, error) {
	if body != nil {
		return io.CopyN(body, c.in, n)
	}
	got, err := c.in.Discard(int(n))
	return int64(got), err
}

func statusOf(line []byte) (int, error) {
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) < 12 {
		return 0, fmt.Errorf("this is no HTTP/1.1 answer: %q", line)
	}
	return strconv.Atoi(string(line[9:12]))
}

// request is one without a body.
func request(method, path string, header ...string) []byte {
	r := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: bench\r\n", method, path)
	for _, h := range header {
		r = append(append(r, h...), "\r\n"...)
	}
	if method != http.MethodGet {
		r = append(r, "Content-Length: 0\r\n"...)
	}
	return append(r, "\r\n"...)
}

// fetch gets one path over a connection of its own and returns the body of the answer, which must be a 200.
func fetch(ctx context.Context, address, path string, header ...string) ([]byte, error) {
	c, err := dialHTTP(ctx, address, scrapeBuffer)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.within(maxWait); err != nil {
		return nil, err
	}
	var body bytes.Buffer
	a, err := c.do(request(http.MethodGet, path, header...), &body)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("GET %s of %s: want %d, got %d: %.200s", path, address, http.StatusOK, a.status, body.Bytes())
	}
	return body.Bytes(), err
}
