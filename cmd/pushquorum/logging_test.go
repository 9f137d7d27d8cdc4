package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/promslog"
)

// loud is a value that says how it wants to be logged.
type loud struct{ text string }

func (l loud) LogValue() slog.Value { return slog.StringValue(l.text) }

// named is one that has a name.
type named struct{ name string }

func (n named) String() string { return n.name }

// broken has none, and panics when it is asked.
type broken struct{ *named }

func TestWhateverIsLoggedIsCut(t *testing.T) {
	long := strings.Repeat("0123456789", 90_000)
	for _, row := range []struct {
		name  string
		value any
	}{
		{"a string", long},
		{"an error", errors.New(long)},
		{"an error in an error", fmt.Errorf("reading the body: %w", errors.New(long))},
		{"bytes", []byte(long)},
		{"a list", []string{"a", long}},
		{"a map", map[string]string{"a": long}},
		{"a struct", struct{ Path string }{long}},
		{"what has a String", named{long}},
		{"what has a LogValue", loud{long}},
		{"a group", slog.GroupValue(slog.String("path", long),
			slog.Any("inner", slog.GroupValue(slog.String("path", long))))},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, format := range []string{"logfmt", "json"} {
				for how, log := range map[string]func(*slog.Logger){
					"at the call": func(l *slog.Logger) { l.Info("short", "key", row.value) },
					"with":        func(l *slog.Logger) { l.With("key", row.value).WithGroup("g").Info("short") },
					"in a group": func(l *slog.Logger) {
						l.WithGroup("g").Info("short",
							slog.Group("h", "key", row.value))
					},
				} {
					line := logged(t, format, log)
					if len(line) > 4*maxLogged || !strings.Contains(line, "012345678") ||
						!strings.Contains(line, "… (900") {
						t.Errorf("%s, %s: %d bytes were logged: %.800s", format, how, len(line), line)
					}
				}
			}
		})
	}
}

// logged returns the lines that are written.
func logged(t *testing.T, format string, log func(*slog.Logger)) string {
	t.Helper()
	var b bytes.Buffer
	f := promslog.NewFormat()
	if err := f.Set(format); err != nil {
		t.Fatal(err)
	}
	log(newLogger(&promslog.Config{Style: promslog.GoKitStyle, Format: f, Writer: &b}))
	return b.String()
}

func TestWhatIsShortIsLoggedAsItIs(t *testing.T) {
	values := []any{
		"s", strings.Repeat("x", maxLogged), 1, 1.5, true, time.Second, time.Unix(1, 0), errors.New("e"),
		named{"n"},
		loud{"l"},
		[]string{"a", "b"},
		netip.MustParseAddr("10.0.0.1"), nil, error(nil), (*named)(nil),
		broken{},
		map[string]int{"a": 1},
		slog.GroupValue(slog.Int("a", 1)), slog.LevelInfo,
		struct{ A int }{1},
	}
	for _, format := range []string{"logfmt", "json"} {
		for _, v := range values {
			log := func(l *slog.Logger) { l.Warn(strings.Repeat("a message is our own text. ", 20), "key", v) }
			var b bytes.Buffer
			f := promslog.NewFormat()
			if err := f.Set(format); err != nil {
				t.Fatal(err)
			}
			log(promslog.New(&promslog.Config{Style: promslog.GoKitStyle, Format: f, Writer: &b}))
			if got, want := withoutTime(logged(t, format, log)), withoutTime(b.String()); got != want {
				t.Errorf("%s, %T: logged %s instead of %s", format, v, got, want)
			}
		}
	}
}

// withoutTime is a line without when it was written.
func withoutTime(line string) string {
	_, rest, _ := strings.Cut(line, "Z")
	return rest
}

func TestARuneIsNotCutInTwo(t *testing.T) {
	for at := range 4 {
		for _, r := range []string{"ä", "€", "𝄞", "\xff", "\x80"} {
			text := strings.Repeat("x", maxLogged-at) + strings.Repeat(r, 100)
			got := cut(text)
			kept, length, _ := strings.Cut(got, "…")
			if want := fmt.Sprintf(" (%d bytes)", len(text)); length != want || len(kept) > maxLogged ||
				len(kept) < maxLogged-utf8.UTFMax {
				t.Errorf("%q at %d: %q", r, at, got)
			}
			if utf8.ValidString(text) && !utf8.ValidString(got) || !strings.HasPrefix(text, kept) {
				t.Errorf("%q at %d: %q", r, at, got)
			}
		}
	}
}

func TestLinesOfTheHTTPServerAreValuesAndHaveALevel(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"http: panic serving 127.0.0.1:1: boom\ngoroutine 1 [running]:\n", "level=error"},
		{"http: Accept error: accept tcp: too many open files; retrying in 5ms", "level=warn"},
		{"http: TLS handshake error from 127.0.0.1:1: tls: unknown certificate authority", "level=warn"},
		{"http: TLS handshake error from 127.0.0.1:1: EOF", ""},
		{"http2: server: error reading preface from client 127.0.0.1:1: read tcp: connection reset by peer", ""},
		{"http: invalid Content-Length of " + strings.Repeat("9", 1000), "… (1032 bytes)"},
	} {
		got := logged(t, "logfmt", func(l *slog.Logger) {
			slog.NewLogLogger(serverHandler{l.Handler()}, slog.LevelError).Print(row.line)
		})
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) || len(got) > 2*maxLogged {
			t.Errorf("%q is logged as %q, want %q", row.line, got, row.want)
		}
	}
}
