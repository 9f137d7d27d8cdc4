package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/durable"
	"pushquorum/cluster/internal/listening"
	"pushquorum/test/golden"
)

// TestGoldenFaults holds what is said of disks, directories and addresses to the rule of test/golden: most of it cannot
// be brought about from outside. All of it is in testdata/faults.golden.
func TestGoldenFaults(t *testing.T) {
	open := func(err error) error { return &os.PathError{Op: "open", Path: "/nowhere/data/probe", Err: err} }
	listen := func(err error) error {
		return &net.OpError{Op: "listen", Net: "tcp", Err: &os.SyscallError{Syscall: "bind", Err: err}}
	}
	address := func(err error) error { return listening.Error("--cluster.listen-address", "10.0.0.1:7946", err) }
	damage := errors.New("checksum mismatch")
	memberlistsFault := fmt.Errorf("failed to start TCP listener on %q port %d: %v", "10.0.0.1", 7946,
		listen(syscall.EADDRINUSE)) //nolint:errorlint // as there
	var file strings.Builder
	file.WriteString("What is said of disks, directories and addresses.\n")
	for _, row := range []struct {
		name        string
		text        any
		value, mend string
	}{
		{
			"a full disk", disk.CannotWrite("/nowhere/data", open(syscall.ENOSPC)), "--storage.path=/nowhere/data",
			"make room",
		},
		{
			"a used-up quota", disk.CannotWrite("/nowhere/data", open(syscall.EDQUOT)), "--storage.path=/nowhere/data",
			"make room",
		},
		{
			"a read-only file system", disk.CannotWrite("/nowhere/data", open(syscall.EROFS)),
			"--storage.path=/nowhere/data", "mount it to be written",
		},
		{
			"a directory of another user", disk.CannotWrite("/nowhere/data", open(syscall.EACCES)),
			"--storage.path=/nowhere/data", "fsGroup",
		},
		{
			"a directory that cannot be made",
			disk.CannotMake("/proc/data", &os.PathError{Op: "mkdir", Path: "/proc/data", Err: syscall.ENOENT}),
			"--storage.path=/proc/data", "name a directory",
		},
		{
			"a directory that cannot be made on a full disk", disk.CannotMake("/nowhere/data", open(syscall.ENOSPC)),
			"--storage.path=/nowhere/data", "make room",
		},
		{
			"a directory below a file",
			disk.CannotMake("/dev/null/data", &os.PathError{Op: "mkdir", Path: "/dev/null", Err: syscall.ENOTDIR}),
			"/dev/null is a file", "name a directory",
		},
		{
			"a damaged file",
			disk.IfRefused("/nowhere/data", durable.Damaged("/nowhere/data/replica.json", "%w", damage)),
			"/nowhere/data/replica.json", "restore the file",
		},
		{
			"a damaged log",
			disk.IfRefused("/nowhere/data", durable.DamagedLog("/nowhere/data/wal/1.wal", "%w", damage)),
			"/nowhere/data/wal/1.wal", "recover",
		},
		{
			"a file that cannot be read for want of rights",
			disk.IfRefused("/nowhere/data", durable.Damaged("/nowhere/data/wal/1.wal", "cannot be read: %w",
				open(syscall.EACCES))), "/nowhere/data/wal/1.wal", "chown",
		},
		{
			"a disk that fails",
			disk.IfRefused("/nowhere/data", fmt.Errorf("reading the replica's identity: %w", syscall.EIO)),
			"--storage.path=/nowhere/data", "replace it",
		},
		{"a port that is taken", address(listen(syscall.EADDRINUSE)), "10.0.0.1:7946", "choose another port"},
		{
			"a port that is taken, as memberlist tells it", address(memberlistsFault), "10.0.0.1:7946: address",
			"choose another port",
		},
		{"an address of another host", address(listen(syscall.EADDRNOTAVAIL)), "10.0.0.1:7946", "address of this host"},
		{"a port for root alone", address(listen(syscall.EACCES)), "10.0.0.1:7946", "CAP_NET_BIND_SERVICE"},
		{
			"a name that is not known",
			address(&net.DNSError{Err: "no such host", Name: "replica-0", Server: "10.0.0.10:53"}), "replica-0",
			"write an IP address",
		},
		{
			"any other error of an address", address(&net.OpError{Op: "listen", Err: io.EOF}), "10.0.0.1:7946",
			"choose another address",
		},
		{"a disk that is nearly full", shortOf(t, 0), "/nowhere/data of r1 has 10.0MB free", "delete groups"},
		{"a disk without room for a snapshot", shortOf(t, 50<<20), "50.0MB for the next snapshot", "delete groups"},
	} {
		host := regexp.MustCompile(`\d+, group \d+|mode \S+|chown -R \d+|fsGroup: \d+`)
		text := host.ReplaceAllStringFunc(fmt.Sprint(row.text), func(found string) string {
			return regexp.MustCompile(`\d+|mode .*[^:]`).ReplaceAllStringFunc(found, func(s string) string {
				if strings.HasPrefix(s, "mode") {
					return "mode MODE"
				}
				return "ID"
			})
		})
		if err := (golden.Line{Text: text, Value: row.value, Mend: row.mend}).Check(); err != nil {
			t.Errorf("%s: %v\n%s", row.name, err, text)
		}
		fmt.Fprintf(&file, "\n%s\n  %s\n", row.name, text)
	}
	golden.Compare(t, "testdata/faults.golden", file.String())
}

// shortOf is what a replica says when its disk has 10 MB, should have 200 MB, and needs so much for a snapshot.
func shortOf(t *testing.T, snapshot uint64) string {
	t.Helper()
	w := disk.NewSpace("/nowhere/data", "r1", 200<<20, 1, func(string) (disk.FileSystem, error) {
		return disk.FileSystem{Size: 1 << 30, Free: 10 << 20}, nil
	},
		func() uint64 { return snapshot }, slog.New(slog.DiscardHandler))
	w.Measure()
	return w.Shortage()
}
