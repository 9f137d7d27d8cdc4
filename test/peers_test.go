package test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"pushquorum/test/local"
)

// python is the interpreter that Debian's python3-prometheus-client is for; another one may be first on PATH.
const python = "/usr/bin/python3"

// peersRequired is how CI says that a client that is not installed is a failure.
func peersRequired() bool { return os.Getenv("PUSHQUORUM_REQUIRE_PEERS") == "1" }

// need is the path of a real client or peer. The test skips when there is none, or fails where it is required.
func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, program, "install it, Debian has it: "+debianPackage(program))
	}
	return path
}

func missing(t testing.TB, program, mend string) {
	t.Helper()
	if peersRequired() {
		t.Fatalf("%s is missing, and PUSHQUORUM_REQUIRE_PEERS=1; %s", program, mend)
	}
	t.Skipf("%s is missing; %s", program, mend)
}

func debianPackage(program string) string {
	switch program {
	case "promtool":
		return "prometheus"
	case "setpriv":
		return "util-linux"
	case "javac":
		return "default-jdk-headless"
	case python:
		return "python3 and python3-prometheus-client"
	}
	return program
}

// promtoolSeen are the scrapes that promtool has accepted in this run.
var promtoolSeen struct {
	sync.Mutex
	scrapes map[[sha256.Size]byte]bool
}

// checkWithPromtool fails the test when `promtool check metrics` cannot read the scrape. What promtool thinks of the
// names in it (exit code 3) is up to whoever pushed them. Without promtool nothing is checked, and where it is required
// the test fails.
func checkWithPromtool(t testing.TB, scrape string) {
	t.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if peersRequired() {
			t.Fatal("promtool is missing, and PUSHQUORUM_REQUIRE_PEERS=1; Debian has it in: prometheus")
		}
		return
	}
	sum := sha256.Sum256([]byte(scrape))
	promtoolSeen.Lock()
	seen := promtoolSeen.scrapes[sum]
	promtoolSeen.Unlock()
	if seen {
		return
	}
	const lintFindings = 3
	if code, out, errs := runProcess(t, scrape, promtool, "check", "metrics"); code != 0 && code != lintFindings {
		t.Fatalf("promtool check metrics: exit code %d\n%s%s\nof the scrape:\n%s", code, out, errs, scrape)
	}
	promtoolSeen.Lock()
	defer promtoolSeen.Unlock()
	if promtoolSeen.scrapes == nil {
		promtoolSeen.scrapes = map[[sha256.Size]byte]bool{}
	}
	promtoolSeen.scrapes[sum] = true
}

// pushgateway is a running real one. PUSHQUORUM_PUSHGATEWAY names another binary than the one on PATH.
type pushgateway struct {
	*process
	web string
}

func startPushgateway(t testing.TB, flags ...string) *pushgateway {
	t.Helper()
	program := os.Getenv("PUSHQUORUM_PUSHGATEWAY")
	if program == "" {
		program = need(t, "prometheus-pushgateway")
	}
	p := &pushgateway{web: local.Address(freePort(t))}
	p.process = startProcess(t, "pushgateway", program, append(flags, "--web.listen-address="+p.web)...)
	awaitHTTP(t, p.process, p.url("/-/ready"))
	return p
}

func (p *pushgateway) url(path string) string { return "http://" + p.web + path }

// awaitHTTP waits until the process answers 200 there.
func awaitHTTP(t testing.TB, p *process, url string) {
	t.Helper()
	eventually(t, 20*time.Second, "wait for "+p.name, func() error {
		if p.ended() {
			return hopeless{fmt.Errorf("it ended (%s):\n%s", p.ending(), lastLines(p.output(), 10))}
		}
		a, err := do(request{url: url})
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, a)
		}
		return nil
	})
}
