package test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pushquorum/test/local"
)

func TestFlagsThatCannotWorkTogetherAreRefusedInOneLine(t *testing.T) {
	t.Parallel()
	gossip := local.Address(freePort(t))
	for name, refused := range map[string]struct {
		args []string
		// names must be in the line, so that one knows what to change: the flag, or the value where kingpin has it so.
		names string
	}{
		"a peer without a cluster": {
			[]string{"--cluster.peer=127.0.0.1:7946"}, "--cluster.listen-address",
		},
		"bootstrap-expect without a cluster": {
			[]string{"--cluster.bootstrap-expect=3"}, "--cluster.listen-address",
		},
		"an advertised address without a cluster": {
			[]string{"--cluster.advertise-address=127.0.0.1:1"}, "--cluster.listen-address",
		},
		"a peer address without a cluster": {
			[]string{"--cluster.peer-listen-address=127.0.0.1:1"}, "--cluster.listen-address",
		},
		"no replica to bootstrap": {
			[]string{"--cluster.listen-address=" + gossip, "--cluster.bootstrap-expect=-1"},
			"--cluster.bootstrap-expect",
		},
		"no grace for the dead": {
			[]string{"--cluster.listen-address=" + gossip, "--cluster.dead-server-grace=0s"},
			"--cluster.dead-server-grace",
		},
		"an address without a port": {
			[]string{"--cluster.listen-address=127.0.0.1"}, "--cluster.listen-address",
		},
		"a peer without a port": {
			[]string{"--cluster.listen-address=" + gossip, "--cluster.peer=other"}, "--cluster.peer",
		},
		"gossip and peers on one port": {
			[]string{"--cluster.listen-address=" + gossip, "--cluster.peer-listen-address=" + gossip},
			"--cluster.peer-listen-address",
		},
		"a consistency that there is not":      {[]string{"--read.consistency=eventual"}, "eventual"},
		"self metrics that are neither":        {[]string{"--web.include-self-metrics=maybe"}, "maybe"},
		"no time to push":                      {[]string{"--push.timeout=0s"}, "--push.timeout"},
		"no time to read":                      {[]string{"--read.timeout=0s"}, "--read.timeout"},
		"a negative staleness":                 {[]string{"--read.max-staleness=-1s"}, "--read.max-staleness"},
		"a body of no size":                    {[]string{"--push.max-body-size=0"}, "--push.max-body-size"},
		"a limit below nothing":                {[]string{"--limit.groups=-1"}, "--limit.groups"},
		"a limit of the state that is no size": {[]string{"--limit.state-bytes=much"}, "--limit.state-bytes"},
		"too many connections": {
			[]string{"--web.max-connections=2000000000"}, "--web.max-connections",
		},
		"fewer pushes than none": {[]string{"--push.max-requests=-1"}, "--push.max-requests"},
		"no memory for a push": {
			[]string{"--push.max-bytes-in-flight=1KB"}, "--push.max-bytes-in-flight",
		},
		"a snapshot after no entry": {
			[]string{"--storage.snapshot-entries=0"}, "--storage.snapshot-entries",
		},
		"no data directory":             {[]string{"--storage.path="}, "--storage.path"},
		"an unknown flag":               {[]string{"--cluster.size=3"}, "cluster.size"},
		"an argument":                   {[]string{"standalone"}, "standalone"},
		"a log level that there is not": {[]string{"--log.level=loud"}, "loud"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runProcess(t, "",
				binary(t), append(refused.args, "--web.listen-address="+local.Address(freePort(t)))...)
			if code == 0 {
				t.Fatalf("%v: exit code 0", refused.args)
			}
			lines := strings.Split(strings.TrimSpace(stdout+stderr), "\n")
			lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "level=info") })
			if len(lines) != 1 || !strings.Contains(lines[0], refused.names) {
				t.Errorf("%v: want one line with %q, got:\n%s", refused.args, refused.names, strings.Join(lines, "\n"))
			}
		})
	}
}

func TestVersionAndHelpGoToStandardOutput(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := runProcess(t, "", binary(t), "--version")
	if code != 0 || !strings.HasPrefix(stdout, "pushquorum, version ") || stderr != "" {
		t.Errorf("--version: exit code %d, %q, %q", code, stdout, stderr)
	}
	if os.Getenv("PUSHQUORUM_BIN") == "" && !strings.Contains(stdout, builtVersion) {
		t.Errorf("--version does not say %s, which the build has set: %s", builtVersion, stdout)
	}
	for _, flag := range []string{"--help", "-h"} {
		code, stdout, stderr := runProcess(t, "", binary(t), flag)
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit code %d, %q", flag, code, stderr)
		}
		for _, name := range flagNames {
			if !strings.Contains(stdout, "--"+name) && !strings.Contains(stdout, "--[no-]"+name) {
				t.Errorf("%s does not tell of --%s", flag, name)
			}
		}
	}
}

// flagNames are the Pushgateway's flags and PushQuorum's own.
var flagNames = []string{
	"web.listen-address", "web.config.file", "web.systemd-socket", "web.telemetry-path", "web.external-url",
	"web.route-prefix",
	"web.enable-lifecycle", "web.enable-admin-api", "persistence.file", "persistence.interval",
	"push.disable-consistency-check",
	"push.enable-utf8-names", "log.level", "log.format", "version", "help",

	"storage.path", "storage.snapshot-entries", "storage.snapshot-bytes", "storage.min-free", "cluster.name",
	"cluster.listen-address",
	"cluster.advertise-address", "cluster.peer-listen-address", "cluster.peer-advertise-address", "cluster.peer",
	"cluster.bootstrap-expect", "cluster.dead-server-grace", "push.timeout", "push.max-body-size", "read.consistency",
	"read.timeout", "read.max-staleness",
	"web.include-self-metrics", "web.drain-delay", "limit.state-bytes", "limit.series", "limit.groups",
	"limit.series-per-group",
	"web.max-connections", "web.max-page-bytes", "push.max-requests", "push.max-bytes-in-flight", "auto-gomemlimit",
	"auto-gomemlimit.ratio",
}

func TestAPushgatewaysFlagsDoWhatTheyDoThere(t *testing.T) {
	t.Parallel()
	r := startReplica(
		t, "--web.telemetry-path=/scrape", "--web.route-prefix=/push", "--web.external-url=http://example.org/push",
		"--web.enable-lifecycle", "--web.enable-admin-api", "--persistence.interval=1m",
		"--push.disable-consistency-check",
		"--push.enable-utf8-names", "--log.level=debug", "--log.format=json",
	)
	mustDo(t, http.StatusAccepted, request{
		method: http.MethodPut, url: r.url("/metrics/job/a/U__dotted_2e_label/x"), body: gauge("e2e_prefixed", 1),
	})
	a := mustDo(t, http.StatusOK, request{url: r.url("/scrape")})
	mustHave(t, a.body, `e2e_prefixed{dotted_label="x",instance="",job="a"}`, "1")
	a = mustDo(t, http.StatusOK, request{
		url: r.url("/scrape"), header: map[string]string{"Accept": "text/plain; version=1.0.0; escaping=allow-utf-8"},
	})
	mustHave(t, a.body, `e2e_prefixed{"dotted.label"="x",instance="",job="a"}`, "1")

	mustDo(t, http.StatusNotFound, request{url: "http://" + r.web + "/metrics"})
	mustDo(t, http.StatusNotFound, request{url: r.url("/metrics")})
	for line := range strings.Lines(string(r.output())) {
		if !json.Valid([]byte(line)) {
			t.Errorf("--log.format=json, and a line is not: %s", line)
		}
	}

	mustDo(t, http.StatusOK, request{method: http.MethodPut, url: r.url("/-/quit")})
	select {
	case <-r.done:
		if code := r.state.ExitCode(); code != 0 {
			t.Errorf("after /-/quit the exit code is %d", code)
		}
	case <-time.After(stopWithin):
		t.Error("it has not ended after /-/quit")
	}
}
