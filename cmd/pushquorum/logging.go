package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/common/promslog"

	"pushquorum/expo"
)

// maxLogged is how many bytes of a value are logged, or repeated in an error. Values are paths, labels, errors that
// quote a body, names out of the gossip: what others can make as long as they like. A message is our own text, and is
// logged whole.
const maxLogged = 200

// cuttingHandler cuts the values of what it hands on, wherever they were logged.
type cuttingHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h cuttingHandler) Handle(ctx context.Context, r slog.Record) error {
	short := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		short.AddAttrs(cutAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, short)
}

// WithAttrs implements slog.Handler.
func (h cuttingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return cuttingHandler{h.Handler.WithAttrs(cutAttrs(attrs))}
}

// WithGroup implements slog.Handler.
func (h cuttingHandler) WithGroup(name string) slog.Handler {
	return cuttingHandler{h.Handler.WithGroup(name)}
}

func cutAttrs(attrs []slog.Attr) []slog.Attr {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = cutAttr(a)
	}
	return out
}

// newLogger returns the logger of the process.
func newLogger(cfg *promslog.Config) *slog.Logger {
	return slog.New(cuttingHandler{promslog.New(cfg).Handler()})
}

// serverHandler logs the lines of net/http's server as values, because they quote clients.
type serverHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h serverHandler) Handle(ctx context.Context, r slog.Record) error {
	line := slog.NewRecord(r.Time, serverLevel(r.Message), "HTTP server", r.PC)
	if !h.Enabled(ctx, line.Level) {
		return nil
	}
	line.AddAttrs(slog.String("err", r.Message))
	return h.Handler.Handle(ctx, line)
}

// serverLevel says how much a line of net/http's server matters. A connection that its client has ended, or that a port
// scan has begun, is of no interest.
func serverLevel(line string) slog.Level {
	if strings.Contains(line, "panic serving") {
		return slog.LevelError
	}
	for _, end := range []string{
		"EOF", "connection reset by peer", "broken pipe", "i/o timeout", "context canceled", "client disconnected",
	} {
		if strings.HasSuffix(line, end) {
			return slog.LevelDebug
		}
	}
	return slog.LevelWarn
}

// cutAttr returns the attribute itself if it is short enough, because the handler decides how it is written.
func cutAttr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(cut(a.Value.String()))
	case slog.KindGroup:
		a.Value = slog.GroupValue(cutAttrs(a.Value.Group())...)
	case slog.KindAny:
		var text string
		if b, ok := a.Value.Any().([]byte); ok {
			text = string(b)
		} else {
			text = fmt.Sprintf("%+v", a.Value.Any()) // which calls Error and String, and bears it when they panic
		}
		if len(text) > maxLogged {
			a.Value = slog.StringValue(cut(text))
		}
	default: // numbers and times
	}
	return a
}

// cut returns the beginning of a text that is too long, and how long it was. No rune is cut in two.
func cut(text string) string { return expo.Shorten(text, maxLogged) }
