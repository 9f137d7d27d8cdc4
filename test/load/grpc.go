package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// grpcConn makes unary gRPC calls of one method, one after another over one connection: the same economy as httpConn, so
// that no peer pays for its client. With etcd's own client, etcd does a third less on two processors.
type grpcConn struct {
	address string
	conn    net.Conn
	out     *bufio.Writer
	framer  *http2.Framer
	header  bytes.Buffer
	encoder *hpack.Encoder
	fields  []hpack.HeaderField
	stream  uint32
	window  int64 // bytes that the peer still takes on this connection
	frame   []byte
}

const (
	http2Preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	http2Window      = 65535   // of a fresh connection, RFC 9113 section 6.9.2
	http2OurWindow   = 1 << 30 // more than all answers together: nothing has to be acknowledged on the way
	grpcPrefixLength = 5       // not compressed, and the length of the message in 4 bytes
)

func dialGRPC(ctx context.Context, address, method string) (*grpcConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &grpcConn{address: address, conn: conn, out: bufio.NewWriterSize(conn, 8<<10), stream: 1, window: http2Window}
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(conn, pushBuffer))
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
		c.close()
		return nil, err
	}
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

func (c *grpcConn) close() { _ = c.conn.Close() }

func (c *grpcConn) within(d time.Duration) error { return c.conn.SetDeadline(time.Now().Add(d)) }

// call sends one message and reads the answer to its end. It is an error unless the server says that all is well and sends
// a message back.
func (c *grpcConn) call(message []byte) error {
	c.frame = append(c.frame[:0], 0)
	c.frame = binary.BigEndian.AppendUint32(c.frame, uint32(len(message)))
	c.frame = append(c.frame, message...)
	for c.window < int64(len(c.frame)) {
		if _, err := c.read(nil); err != nil {
			return err
		}
	}
	id := c.stream
	c.stream += 2
	c.window -= int64(len(c.frame))
	c.header.Reset()
	for _, f := range c.fields {
		if err := c.encoder.WriteField(f); err != nil {
			return err
		}
	}
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.header.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	if err := c.framer.WriteData(id, true, c.frame); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	reply := reply{stream: id}
	for {
		ended, err := c.read(&reply)
		if err != nil {
			return err
		}
		if ended {
			return reply.verdict()
		}
	}
}

// reply is what is known of the answer to a call.
type reply struct {
	stream                uint32
	http, status, message string
	bytes                 int
}

func (r *reply) verdict() error {
	if r.http != "200" || r.status != "0" || r.bytes < grpcPrefixLength {
		return fmt.Errorf("gRPC answer: HTTP status %q, gRPC status %q, %d bytes: %s", r.http, r.status, r.bytes, r.message)
	}
	return nil
}

// read takes one frame, and says whether it ended the answer.
func (c *grpcConn) read(r *reply) (ended bool, err error) {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return false, fmt.Errorf("reading the answer of %s: %w", c.address, err)
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		if r == nil || f.StreamID != r.stream {
			break
		}
		for _, field := range f.Fields {
			switch field.Name {
			case ":status":
				r.http = field.Value
			case "grpc-status":
				r.status = field.Value
			case "grpc-message":
				r.message = field.Value
			}
		}
		return f.StreamEnded(), nil
	case *http2.DataFrame:
		if r != nil && f.StreamID == r.stream {
			r.bytes += len(f.Data())
			return f.StreamEnded(), nil
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return false, flushed(c.framer.WriteSettingsAck(), c.out)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return false, flushed(c.framer.WritePing(true, f.Data), c.out)
		}
	case *http2.RSTStreamFrame:
		return false, fmt.Errorf("%s reset the stream: %s", c.address, f.ErrCode)
	case *http2.GoAwayFrame:
		return false, fmt.Errorf("%s goes away: %s %s", c.address, f.ErrCode, f.DebugData())
	}
	return false, nil
}

func flushed(err error, out *bufio.Writer) error {
	if err != nil {
		return err
	}
	return out.Flush()
}
