package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pushquorum/cluster"
	"pushquorum/fsm"
)

// flagStarts are values that no flag of the kind can have, and flags that there are not.
var flagStarts = []start{
	{
		name: "a duration without a unit", args: []string{"--push.timeout=10"}, value: "--push.timeout=10 ",
		mend: "such as --push.timeout=",
	},
	{
		name: "a duration that is a word", args: []string{"--read.timeout=soon"}, value: "--read.timeout=soon",
		mend: "such as --read.timeout=",
	},
	{
		name: "no time to push", args: []string{"--push.timeout=0s"}, value: "--push.timeout=0s",
		mend: "write a positive duration",
	},
	{
		name: "no time to read", args: []string{"--read.timeout=0s"}, value: "--read.timeout=0s",
		mend: "write a positive duration",
	},
	{
		name: "a negative staleness", args: []string{"--read.max-staleness=-1s"}, value: "--read.max-staleness=-1s",
		mend: "write a positive duration",
	},
	{
		name: "a negative delay", args: []string{"--web.drain-delay=-1s"}, value: "--web.drain-delay=-1s",
		mend: "--web.drain-delay=5s",
	},
	{
		name: "an interval that is none",
		args: []string{"--persistence.interval=5"}, value: "--persistence.interval=5 ",
		mend: "such as --persistence.interval=5m",
	},
	{
		name: "a size without a unit", args: []string{"--push.max-body-size=16"}, value: "--push.max-body-size=16",
		mend: "such as --push.max-body-size=16MB",
	},
	{
		name: "a body of no size", args: []string{"--push.max-body-size=0"}, value: "--push.max-body-size=0B",
		mend: "such as --push.max-body-size=16MB",
	},
	{
		name: "a snapshot after no byte", args: []string{"--storage.snapshot-bytes=0"},
		value: "--storage.snapshot-bytes=0B", mend: "write a size above 0",
	},
	{
		name: "a snapshot after no entry", args: []string{"--storage.snapshot-entries=0"},
		value: "--storage.snapshot-entries=0", mend: "write a number above 0",
	},
	{
		name: "fewer entries than none", args: []string{"--storage.snapshot-entries=-1"},
		value: "--storage.snapshot-entries=-1", mend: "write one",
	},
	{
		name: "a part of the disk", args: []string{"--storage.min-free=5%"}, value: "--storage.min-free=5%",
		mend: "write auto, 0, or bytes",
	},
	{
		name: "a limit of the state that is no size", args: []string{"--limit.state-bytes=much"},
		value: "--limit.state-bytes=much", mend: "write auto",
	},
	{
		name: "pages of no size", args: []string{"--web.max-page-bytes=-1"}, value: "--web.max-page-bytes=-1",
		mend: "write auto",
	},
	{
		name: "no memory for a push", args: []string{"--push.max-bytes-in-flight=1KB"},
		value: "--push.max-bytes-in-flight=1KiB", mend: "write at least 4MB",
	},
	{
		name: "a limit that is no number", args: []string{"--limit.groups=many"}, value: "--limit.groups=many",
		mend: "such as --limit.groups=0",
	},
	{
		name: "half a series", args: []string{"--limit.series=1.5"}, value: "--limit.series=1.5",
		mend: "such as --limit.series=0",
	},
	{
		name: "a limit below nothing", args: []string{"--limit.series-per-group=-1"},
		value: "--limit.series-per-group=-1", mend: "write how many",
	},
	{
		name: "fewer pushes than none", args: []string{"--push.max-requests=-1"}, value: "--push.max-requests=-1",
		mend: "write how many",
	},
	{
		name: "fewer connections than none", args: []string{"--web.max-connections=-1"},
		value: "--web.max-connections=-1", mend: "write how many",
	},
	{
		name: "more connections than files", args: []string{"--web.max-connections=2000000000"},
		value: "--web.max-connections=2000000000", mend: "ulimit -n",
	},
	{
		name: "a ratio that is no number", args: []string{"--auto-gomemlimit.ratio=most"},
		value: "--auto-gomemlimit.ratio=most", mend: "such as --auto-gomemlimit.ratio=0.9",
	},
	{
		name: "more than all memory",
		args: []string{"--auto-gomemlimit.ratio=1.5"}, value: "--auto-gomemlimit.ratio=1.5",
		mend: "write a part",
	},
	{
		name: "a consistency that there is not", args: []string{"--read.consistency=eventual"},
		value: "--read.consistency=eventual", mend: "available, linearizable, local",
	},
	{
		name: "self metrics that are neither", args: []string{"--web.include-self-metrics=maybe"},
		value: "--web.include-self-metrics=maybe", mend: "auto, true, false",
	},
	{
		name: "a log that there is not", args: []string{"--storage.log=paper"}, value: "--storage.log=paper",
		mend: "wal, bbolt",
	},
	{
		name: "a log level that there is not", args: []string{"--log.level=loud"}, value: "--log.level=loud",
		mend: "debug, info, warn, error",
	},
	{
		name: "a log format that there is not", args: []string{"--log.format=xml"}, value: "--log.format=xml",
		mend: "logfmt, json",
	},
	{
		name: "a flag that is spelt wrong", args: []string{"--web.enable-adminapi"}, value: "--web.enable-adminapi",
		mend: "write --web.enable-admin-api",
	},
	{name: "a flag that there is not", args: []string{"--cluster.size=3"}, value: "--cluster.size", mend: "--help"},
	{
		name: "a flag with one dash", args: []string{"-web.enable-lifecycle"}, value: "-web.enable-lifecycle",
		mend: "write it with two, --web.enable-lifecycle",
	},
	{name: "a short flag that there is not", args: []string{"-p", "9091"}, value: "-p", mend: "--help"},
	{
		name: "a flag twice", args: []string{"--storage.path=a", "--storage.path=b"}, value: "--storage.path",
		mend: "write it once",
	},
	{
		name: "a value for a flag that takes none", args: []string{"--web.enable-lifecycle=true"},
		value: "--web.enable-lifecycle=true", mend: "--no-web.enable-lifecycle",
	},
	{
		name: "the same behind a blank", args: []string{"--push.enable-utf8-names", "false"},
		value: "--push.enable-utf8-names=false", mend: "--no-push.enable-utf8-names",
	},
	{name: "a command that there is not", args: []string{"standalone"}, value: "standalone", mend: "recover"},
	{name: "a value with a blank", args: []string{"--cluster.name=replica", "one"}, value: "one", mend: "in quotes"},
	{
		name: "a value that is two lines", args: []string{"--read.consistency=local\nnow"}, value: `"local\nnow"`,
		mend: "available, linearizable, local",
	},
	{
		name: "a flag of another command", args: []string{"--accept-loss"}, value: "--accept-loss",
		mend: "recover --accept-loss",
	},
	{name: "a file of arguments that is missing", args: []string{"@flags"}, value: "flags", mend: "--help"},
}

var webStarts = []start{
	{
		name: "a port alone", args: []string{"--web.listen-address=9091"}, value: "--web.listen-address=9091",
		mend: "such as --web.listen-address=:9091",
	},
	{
		name: "no address at all", args: []string{"--web.listen-address="}, value: "--web.listen-address=",
		mend: "such as --web.listen-address=:9091",
	},
	{
		name: "a port above all", args: []string{"--web.listen-address=:99999"}, value: "99999",
		mend: "between 1 and 65535",
	},
	{
		name: "an address of another host", args: []string{"--web.listen-address=192.0.2.77:9091"},
		value: "--web.listen-address=192.0.2.77:9091", mend: "address of this host",
	},
	{
		name: "a host that there cannot be", args: []string{"--web.listen-address=no..host:9091"},
		value: "--web.listen-address=no..host:9091", mend: "write an IP address",
	},
	{
		name: "a port that is taken", args: []string{"--web.listen-address={taken}"},
		value: "--web.listen-address={taken}", mend: "choose another port", late: true,
	},
	{
		name: "one of two ports that is taken", args: []string{
			"--web.listen-address=127.0.0.1:0",
			"--web.listen-address={taken}",
		}, value: "--web.listen-address={taken}", mend: "choose another port",
		late: true,
	},
	{
		name: "a virtual socket without a port", args: []string{"--web.listen-address=vsock://"}, value: "vsock://",
		mend: "host:port",
	},
	{
		name: "no socket of systemd", args: []string{"--web.systemd-socket"}, value: "LISTEN_FDS",
		mend: "--web.listen-address", env: []string{"LISTEN_FDS="},
	},
	{
		name: "a telemetry path that is taken", args: []string{"--web.telemetry-path=/status"},
		value: "--web.telemetry-path=/status", mend: "choose another",
	},
	{
		name: "a URL without a scheme", args: []string{"--web.external-url=:9091/push"},
		value: "--web.external-url=:9091/push", mend: "http://",
	},
	{
		name: "a URL with a bad escape", args: []string{"--web.external-url=http://h/%zz"},
		value: "--web.external-url=http://h/%zz", mend: "http://push.example.org",
	},
}

// With a file each.
var fileStarts = []start{
	{
		name: "no web configuration", args: []string{"--web.config.file=web.yml"}, value: "--web.config.file=web.yml",
		mend: "leave the flag out",
	},
	{
		name: "a web configuration that is a directory", args: []string{"--web.config.file=."},
		value: "--web.config.file=.", mend: "name a file",
	},
	{
		name: "an unknown field in it", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "tls_config: {}\n"}, value: "line 1: field tls_config",
		mend: webConfigManual,
	},
	{
		name: "two faults in it", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "basic_auth_users: [a]\nrate_limit: x\n"}, value: "line 2",
		mend: webConfigManual,
	},
	{
		name: "no YAML", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "basic_auth_users: [\n"}, value: "web.yml: line 1", mend: webConfigManual,
	},
	{
		name: "a password in plain text", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "basic_auth_users:\n  ada: secret\n"}, value: "basic_auth_users",
		mend: "htpasswd",
	},
	{
		name: "no certificate", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"},
		value: "tls.crt", mend: webConfigManual,
	},
	{
		name: "a certificate that is none", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{
			"web.yml": "tls_server_config: {cert_file: tls.crt, key_file: tls.crt}\n",
			"tls.crt": "no PEM",
		}, value: "find any PEM data", mend: webConfigManual,
	},
	{
		name: "a certificate without a key", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "tls_server_config: {cert_file: tls.crt}\n"}, value: "key_file",
		mend: webConfigManual,
	},
	{
		name: "a version of TLS that there is not", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "tls_server_config: {min_version: TLS9}\n"}, value: "TLS9",
		mend: webConfigManual,
	},
	{
		name: "a header that may not be set", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": "http_server_config: {headers: {X-Foo: bar}}\n"}, value: "X-Foo",
		mend: webConfigManual,
	},
	{
		name: "a web configuration of another user", args: []string{"--web.config.file=web.yml"},
		files: map[string]string{"web.yml": ""}, value: "--web.config.file=web.yml", mend: "fsGroup: GID",
		unprivileged: true, before: takeAway("web.yml"),
	},
	{
		name: "a persistence file that is none", args: []string{"--persistence.file=metrics"},
		files: map[string]string{"metrics": "not a persistence file\n"}, value: "--persistence.file=metrics",
		mend: "copy it again",
	},
	{
		name: "half a persistence file", args: []string{"--persistence.file=metrics"},
		files: map[string]string{"metrics": "\x10\xff\x81"}, value: "--persistence.file=metrics",
		mend: "copy it again",
	},
	{
		name: "a persistence file that is a directory", args: []string{"--persistence.file=."},
		value: "--persistence.file=.", mend: "name a file",
	},
	{
		name: "a persistence file of another user", args: []string{"--persistence.file=metrics"},
		files: map[string]string{"metrics": ""}, value: "--persistence.file=metrics", mend: "fsGroup: GID",
		unprivileged: true, before: takeAway("metrics"),
	},
}

var clusterStarts = []start{
	{
		name: "a peer without a cluster", args: []string{"--cluster.peer=127.0.0.1:7946"},
		value: "--cluster.peer=127.0.0.1:7946", mend: "--cluster.listen-address=",
	},
	{
		name: "bootstrap-expect without a cluster", args: []string{"--cluster.bootstrap-expect=3"},
		value: "--cluster.bootstrap-expect=3", mend: "--cluster.listen-address=",
	},
	{
		name: "a label without a cluster", args: []string{"--cluster.label=blue"}, value: "--cluster.label=blue",
		mend: "--cluster.listen-address=",
	},
	{
		name: "an advertised address without a cluster", args: []string{"--cluster.advertise-address=127.0.0.1:1"},
		value: "--cluster.advertise-address=127.0.0.1:1", mend: "--cluster.listen-address=",
	},
	{
		name: "a peer port without a cluster", args: []string{"--cluster.peer-listen-address=127.0.0.1:1"},
		value: "--cluster.peer-listen-address=127.0.0.1:1", mend: "--cluster.listen-address=",
	},
	{
		name:  "an advertised peer port without a cluster",
		args:  []string{"--cluster.peer-advertise-address=127.0.0.1:1"},
		value: "--cluster.peer-advertise-address=127.0.0.1:1", mend: "--cluster.listen-address=",
	},
	{
		name: "fewer replicas than none", args: []string{"--cluster.bootstrap-expect=-1"},
		value: "--cluster.bootstrap-expect=-1", mend: "such as 3",
	},
	{
		name: "no grace for the dead", args: []string{"--cluster.dead-server-grace=0s"},
		value: "--cluster.dead-server-grace=0s", mend: "write a positive duration",
	},
	{
		name: "a name that is a book", args: []string{"--cluster.name=" + strings.Repeat("long", 100)},
		value: "--cluster.name has 400 bytes", mend: "give a name of 1 to 128",
	},
	{
		name: "a label that is a book", args: []string{"--cluster.label=" + strings.Repeat("long", 100)},
		value: "--cluster.label has 400 bytes", mend: "give at most 255",
	},
	{
		name: "a gossip address without a port", args: []string{"--cluster.listen-address=127.0.0.1"},
		value: "--cluster.listen-address=127.0.0.1", mend: "such as 10.0.0.1:7946",
	},
	{
		name: "a gossip port of the kernel's choice", args: []string{"--cluster.listen-address=127.0.0.1:0"},
		value: "--cluster.listen-address=127.0.0.1:0", mend: "between 1 and 65535",
	},
	{
		name: "a gossip host that there cannot be", args: []string{"--cluster.listen-address=no..host:7946"},
		value: "--cluster.listen-address=no..host:7946", mend: "give an IP address",
	},
	{
		name: "a gossip address of another host", args: []string{"--cluster.listen-address=192.0.2.77:7946"},
		value: "192.0.2.77:", mend: "address of this host", late: true,
	},
	{
		name: "a gossip port that is taken", args: []string{
			"--cluster.listen-address={taken}",
			"--cluster.peer-listen-address=127.0.0.1:1",
		}, value: "--cluster.listen-address={taken}",
		mend: "choose another port", late: true,
	},
	{
		name: "a peer port that is taken", args: []string{"--cluster.listen-address={next}"},
		value: "--cluster.peer-listen-address={taken}", mend: "choose another port", late: true,
	},
	{
		name: "no port left for the peer port", args: []string{"--cluster.listen-address=127.0.0.1:65535"},
		value: "--cluster.listen-address=127.0.0.1:65535", mend: "set --cluster.peer-listen-address",
	},
	{
		name: "a peer without a port", args: []string{"--cluster.listen-address={taken}", "--cluster.peer=other"},
		value: "--cluster.peer=other", mend: "such as 10.0.0.1:7946",
	},
	{
		name: "a peer that is nothing", args: []string{"--cluster.listen-address={taken}", "--cluster.peer="},
		value: "--cluster.peer=", mend: "such as 10.0.0.1:7946",
	},
	{
		name: "gossip and peer port in one", args: []string{
			"--cluster.listen-address={taken}",
			"--cluster.peer-listen-address={taken}",
		}, value: "--cluster.peer-listen-address={taken}",
		mend: "give the peer port another number",
	},
	{
		name: "all addresses as the advertised one", args: []string{
			"--cluster.listen-address={taken}",
			"--cluster.advertise-address=0.0.0.0:7946",
		}, value: "--cluster.advertise-address=0.0.0.0:7946",
		mend: "give an address of this host",
	},
	{
		name: "the same for the peer port", args: []string{
			"--cluster.listen-address={taken}",
			"--cluster.peer-advertise-address=0.0.0.0:7947",
		}, value: "--cluster.peer-advertise-address=0.0.0.0:7947",
		mend: "give an address of this host",
	},
}

var directoryStarts = []start{
	{
		name: "no data directory", args: []string{"--storage.path="}, value: "--storage.path",
		mend: "such as --storage.path=./data",
	},
	{
		name: "a data directory that is a file", args: []string{"--storage.path=file"},
		files: map[string]string{"file": ""}, value: "file is a file", mend: "name a directory",
	},
	{
		name: "a data directory below a file", args: []string{"--storage.path=file/data"},
		files: map[string]string{"file": ""}, value: "file is a file", mend: "name a directory",
	},
	{
		name: "a volume that belongs to root", args: []string{"--storage.path=volume"}, value: "--storage.path=volume",
		mend: "fsGroup: GID", unprivileged: true, before: makeUnwritable,
	},
	{
		name: "a data directory to be made where nothing may be", args: []string{"--storage.path=volume/data"},
		value: "--storage.path=volume/data", mend: "fsGroup: GID", unprivileged: true, before: makeUnwritable,
	},
	{
		name: "a data directory in use", args: []string{}, value: "--storage.path=./data", mend: "stop it", late: true,
		before: openReplicaThere,
	},
	{
		name: "an identity that is damaged", args: []string{"--storage.path=."},
		files: map[string]string{"replica.json": "{"}, value: "replica.json", mend: "restore the file",
	},
	{
		name: "an identity that is lost",
		args: []string{"--storage.path=."}, files: map[string]string{"raft.tail": "x"},
		value: "replica.json: missing", mend: "restore the file",
	},
}

var recoverStarts = []start{
	{
		name: "nothing to recover", args: []string{"recover", "--storage.path=none"}, value: "--storage.path=none",
		mend: "give the data directory of one",
	},
	{
		name: "a file to recover",
		args: []string{"recover", "--storage.path=file"}, files: map[string]string{"file": ""},
		value: "--storage.path=file", mend: "give the data directory of one",
	},
	{
		name: "an accepted loss that is spelt wrong", args: []string{"recover", "--accept-los"}, value: "--accept-los",
		mend: "--accept-loss",
	},
	{
		name: "a damaged identity to recover", args: []string{"recover", "--storage.path=."},
		files: map[string]string{"replica.json": "{"}, value: "replica.json", mend: "restore the file",
	},
}

// takeAway makes a file one that nobody but root may read.
func takeAway(name string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// makeUnwritable makes a directory in which nobody but root may make anything.
func makeUnwritable(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "volume"), 0o555); err != nil {
		t.Fatal(err)
	}
}

// openReplicaThere lets this process have the data directory.
func openReplicaThere(t *testing.T, dir string) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	r, err := cluster.Open(cluster.Config{
		Name: "first", DataDir: filepath.Join(dir, "data"), FSM: fsm.New(logger),
		Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
}
