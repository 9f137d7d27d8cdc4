package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// grpcConn makes unary gRPC calls of one method over one connection that many callers share, as gRPC clients do: calls
// that come together leave in one write. It has the economy of httpConn otherwise, so that no peer pays for its client.
//
// Callers queue their calls; the writer goroutine alone writes, and the reader goroutine alone reads and answers them.
type grpcConn struct {
	address string
	conn    net.Conn
	out     *bufio.Writer
	framer  *http2.Framer
	header  bytes.Buffer
	encoder *hpack.Encoder
	fields  []hpack.HeaderField
	stream  uint32 // of the next call
	frame   []byte

	wake    chan struct{} // holds one value when the writer may have something to do
	done    chan struct{} // closed when the reader has ended
	running sync.WaitGroup
	users   int // clients that share the connection; the last one closes it

	mu      sync.Mutex // guards what follows
	queue   []*call
	control []func() error // frames that the reader owes the peer
	window  int64          // bytes that the peer still takes on this connection
	open    map[uint32]*call
	failed  error // why there will be no more answers
}

// call is one message on its way, and then what is known of its answer.
type call struct {
	message []byte
	done    chan error

	http, status, reason string
	bytes                int
}

const (
	http2Preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	http2Window      = 65535   // of a fresh connection, RFC 9113 section 6.9.2
	http2OurWindow   = 1 << 30 // more than all answers together: nothing has to be acknowledged on the way
	grpcPrefixLength = 5       // not compressed, and the length of the message in 4 bytes
	grpcBuffer       = 64 << 10
)

func dialGRPC(ctx context.Context, address, method string) (*grpcConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &grpcConn{
		address: address, conn: conn, out: bufio.NewWriterSize(conn, grpcBuffer), stream: 1, window: http2Window,
		wake: make(chan struct{}, 1), done: make(chan struct{}), open: map[uint32]*call{},
	}
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(conn, grpcBuffer))
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.header)
	for _, f := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", method},
		{":authority", address},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		c.fields = append(c.fields, hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	if err := c.begin(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.running.Go(c.write)
	c.running.Go(c.read)
	return c, nil
}

func (c *grpcConn) begin() error {
	if _, err := c.out.WriteString(http2Preface); err != nil {
		return err
	}
	if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}); err != nil {
		return err
	}
	if err := c.framer.WriteWindowUpdate(0, http2OurWindow); err != nil {
		return err
	}
	return c.out.Flush()
}

// close ends the connection, and calls that are under way with an error.
func (c *grpcConn) close() {
	_ = c.conn.Close()
	c.running.Wait()
}

func (c *grpcConn) within(d time.Duration) error { return c.conn.SetDeadline(time.Now().Add(d)) }

// call sends the message of a call and waits for the whole answer. It is an error unless the server says that all is
// well and sends a message back.
func (c *grpcConn) call(one *call) error {
	one.http, one.status, one.reason, one.bytes = "", "", "", 0
	c.mu.Lock()
	if c.failed != nil {
		c.mu.Unlock()
		return c.failed
	}
	c.queue = append(c.queue, one)
	c.mu.Unlock()
	c.wakeWriter()
	if err := <-one.done; err != nil {
		return err
	}
	if one.http != "200" || one.status != "0" || one.bytes < grpcPrefixLength {
		return fmt.Errorf("gRPC answer of %s: HTTP status %q, gRPC status %q, %d bytes: %s",
			c.address, one.http, one.status, one.bytes, one.reason)
	}
	return nil
}

func (c *grpcConn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued until the connection ends. Before it flushes, it lets the callers run that have just been
// answered: their next calls go with this write.
func (c *grpcConn) write() {
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		for yielded := false; ; {
			sent, err := c.sendSome()
			if err == nil && sent {
				yielded = false
				continue
			}
			if err == nil && !yielded {
				yielded = true
				runtime.Gosched()
				continue
			}
			if err == nil {
				err = c.out.Flush()
			}
			if err != nil {
				_ = c.conn.Close() // the reader tells the callers
				return
			}
			break
		}
	}
}

// sendSome writes what the peer takes of what is queued, and says whether that was anything.
func (c *grpcConn) sendSome() (sent bool, err error) {
	c.mu.Lock()
	control := c.control
	c.control = nil
	var calls []*call
	for len(c.queue) > 0 && c.window >= int64(len(c.queue[0].message)+grpcPrefixLength) {
		c.window -= int64(len(c.queue[0].message) + grpcPrefixLength)
		c.open[c.stream+2*uint32(len(calls))] = c.queue[0]
		calls, c.queue = append(calls, c.queue[0]), c.queue[1:]
	}
	c.mu.Unlock()
	for _, frame := range control {
		if err := frame(); err != nil {
			return false, err
		}
	}
	for _, one := range calls {
		if err := c.send(c.stream, one.message); err != nil {
			return false, err
		}
		c.stream += 2
	}
	return len(control)+len(calls) > 0, nil
}

func (c *grpcConn) send(stream uint32, message []byte) error {
	c.frame = append(c.frame[:0], 0)
	c.frame = binary.BigEndian.AppendUint32(c.frame, uint32(len(message)))
	c.frame = append(c.frame, message...)
	c.header.Reset()
	for _, f := range c.fields {
		if err := c.encoder.WriteField(f); err != nil {
			return err
		}
	}
	if err := c.framer.WriteHeaders(
		http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.header.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	return c.framer.WriteData(stream, true, c.frame)
}

// read takes frames until the connection ends, and then ends all calls.
func (c *grpcConn) read() {
	defer close(c.done)
	var err error
	for err == nil {
		var frame http2.Frame
		if frame, err = c.framer.ReadFrame(); err == nil {
			err = c.take(frame)
		}
	}
	_ = c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = fmt.Errorf("reading the answers of %s: %w", c.address, err)
	for _, one := range c.open {
		one.done <- c.failed
	}
	for _, one := range c.queue {
		one.done <- c.failed
	}
	clear(c.open)
	c.queue = nil
}

func (c *grpcConn) take(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		c.answer(f.StreamID, f.StreamEnded(), func(one *call) {
			for _, field := range f.Fields {
				switch field.Name {
				case ":status":
					one.http = field.Value
				case "grpc-status":
					one.status = field.Value
				case "grpc-message":
					one.reason = field.Value
				}
			}
		})
	case *http2.DataFrame:
		c.answer(f.StreamID, f.StreamEnded(), func(one *call) { one.bytes += len(f.Data()) })
	case *http2.RSTStreamFrame:
		c.answer(f.StreamID, true, func(one *call) { one.reason = "reset: " + f.ErrCode.String() })
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.mu.Lock()
			c.window += int64(f.Increment)
			c.mu.Unlock()
			c.wakeWriter()
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.owe(c.framer.WriteSettingsAck)
		}
	case *http2.PingFrame:
		if data := f.Data; !f.IsAck() {
			c.owe(func() error { return c.framer.WritePing(true, data) })
		}
	case *http2.GoAwayFrame:
		return fmt.Errorf("it goes away: %s %s", f.ErrCode, f.DebugData())
	}
	return nil
}

// answer notes a part of the answer to a call, and hands it to the caller when it is whole.
func (c *grpcConn) answer(stream uint32, ended bool, note func(*call)) {
	c.mu.Lock()
	one := c.open[stream]
	if ended {
		delete(c.open, stream)
	}
	c.mu.Unlock()
	if one == nil {
		return
	}
	note(one)
	if ended {
		one.done <- nil
	}
}

func (c *grpcConn) owe(frame func() error) {
	c.mu.Lock()
	c.control = append(c.control, frame)
	c.mu.Unlock()
	c.wakeWriter()
}
