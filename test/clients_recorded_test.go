package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestClientsThatAreRecorded sends, byte by byte, what clients send that a machine may not have. Their answers are
// judged as the client's source judges them, and what they meant must be stored.
func TestClientsThatAreRecorded(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/clients/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/clients/*.http: %v", err)
	}
	const disableCheck = "--push.disable-consistency-check"
	servers := map[string]map[string][]*replica{ // by the flags that the client wants
		"":           {"standalone": {startReplica(t)}, "cluster": startCluster(t).replicas},
		disableCheck: {"standalone": {startReplica(t, disableCheck)}},
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			t.Parallel()
			r, err := readRecording(file)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if servers[r.head["flags"]] == nil {
				t.Fatalf("%s: no server with the flags %s is there", file, r.head["flags"])
			}
			for name, replicas := range servers[r.head["flags"]] {
				t.Run(name, func(t *testing.T) {
					for i, x := range r.exchanges {
						t.Run(x.name, func(t *testing.T) {
							x.try(t, r.head["takes"], replicas[i%len(replicas)], replicas[(i+1)%len(replicas)])
						})
					}
				})
			}
		})
	}
}

// try sends the request to one replica and looks for what is stored on the other.
func (x exchange) try(t *testing.T, takes string, to, from *replica) {
	t.Helper()
	status, body, err := x.send(t, to.web)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if want := x.one("answer", takes); !takesStatus(want, status) {
		t.Errorf("want the answer %s, got %d: %s", want, status, body)
	}
	scrape := mustDo(t, http.StatusOK, request{url: from.url("/metrics")}).body
	for _, want := range x.notes["has"] {
		series, value := splitSample(want)
		mustHave(t, scrape, series, value)
	}
	for _, text := range x.notes["lacks"] {
		mustLack(t, scrape, text)
	}
}

// takesStatus: takes is a list of statuses, 2xx, or <300 for a bound.
func takesStatus(takes string, status int) bool {
	for _, one := range strings.Fields(takes) {
		if bound, ok := strings.CutPrefix(one, "<"); ok {
			if n, err := strconv.Atoi(bound); err == nil && status < n {
				return true
			}
			continue
		}
		if text := strconv.Itoa(status); one == text || one == text[:1]+"xx" {
			return true
		}
	}
	return false
}

// recording is a file of testdata/clients: notes about the client, and requests as it makes them.
type recording struct {
	head      map[string]string
	exchanges []exchange
}

// exchange is a request, and under has, lacks, answer and body what is to be said of it.
type exchange struct {
	name  string
	notes map[string][]string
	// head is the request line and the headers, with {host} and {length} to be filled in.
	head []string
	body string
}

// one is a note of which there is one at most.
func (x exchange) one(key, otherwise string) string {
	if len(x.notes[key]) > 0 {
		return x.notes[key][0]
	}
	return otherwise
}

func readRecording(file string) (recording, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return recording{}, err
	}
	parts := strings.Split("\n"+string(text), "\n### ")
	r := recording{head: map[string]string{}}
	for line := range strings.SplitSeq(strings.TrimSpace(parts[0]), "\n") {
		key, value, err := note(line, "client", "source", "takes", "flags", "note")
		if err != nil {
			return recording{}, err
		}
		r.head[key] = strings.TrimSpace(r.head[key] + " " + value)
	}
	for _, key := range []string{"client", "source", "takes"} {
		if r.head[key] == "" {
			return recording{}, fmt.Errorf("no line # %s: … at its head", key)
		}
	}
	for _, part := range parts[1:] {
		x, err := readExchange(strings.Split(part, "\n"))
		if err != nil {
			return recording{}, err
		}
		r.exchanges = append(r.exchanges, x)
	}
	if len(r.exchanges) == 0 {
		return recording{}, errors.New("no request: each begins with a line ### and its name")
	}
	return r, nil
}

// note takes a line "# key: value" apart.
func note(line string, known ...string) (key, value string, err error) {
	key, value, ok := strings.Cut(strings.TrimPrefix(line, "# "), ": ")
	if !ok || !strings.HasPrefix(line, "# ") || !slices.Contains(known, key) {
		return "", "", fmt.Errorf("want # KEY: VALUE with a KEY of %v, got %q", known, line)
	}
	return key, value, nil
}

func readExchange(lines []string) (exchange, error) {
	x := exchange{name: lines[0], notes: map[string][]string{}}
	lines = lines[1:]
	for len(lines) > 0 && strings.HasPrefix(lines[0], "#") {
		key, value, err := note(lines[0], "has", "lacks", "answer", "body")
		if err != nil {
			return exchange{}, fmt.Errorf("%s: %w", x.name, err)
		}
		x.notes[key] = append(x.notes[key], value)
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[0] != "" {
		x.head = append(x.head, lines[0])
		lines = lines[1:]
	}
	if len(x.head) == 0 || !strings.HasSuffix(x.head[0], " HTTP/1.1") {
		return exchange{}, fmt.Errorf("%s: want a request line after the notes, got %q", x.name, x.head)
	}
	if x.body = strings.Trim(strings.Join(lines, "\n"), "\n"); x.body != "" {
		x.body += "\n"
	}
	return x, nil
}

// send writes the request and reads the answer, as a client does that knows no more of HTTP than it needs.
func (x exchange) send(t testing.TB, address string) (status int, body string, err error) {
	t.Helper()
	content := x.content(t)
	fill := strings.NewReplacer("{host}", address, "{length}", strconv.Itoa(len(content)))
	head := fill.Replace(strings.Join(x.head, "\r\n")) + "\r\n\r\n"
	if strings.Contains(head, "Transfer-Encoding: chunked") {
		content = x.chunked(t, content)
	}
	conn, err := net.DialTimeout("tcp", address, clientTimeout)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(clientTimeout)) // of an open connection
	answers := bufio.NewReader(conn)
	method, _, _ := strings.Cut(head, " ")
	read := func() (*http.Response, error) { return http.ReadResponse(answers, &http.Request{Method: method}) }
	if !strings.Contains(head, "Expect: 100-continue") {
		if _, err := io.WriteString(conn, head+content); err != nil {
			return 0, "", err
		}
	} else {
		if _, err := io.WriteString(conn, head); err != nil {
			return 0, "", err
		}
		if resp, err := read(); err != nil || resp.StatusCode != http.StatusContinue {
			return 0, "", fmt.Errorf("want 100 Continue, got %+v (%w)", resp, err)
		}
		if _, err := io.WriteString(conn, content); err != nil {
			return 0, "", err
		}
	}
	resp, err := read()
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
