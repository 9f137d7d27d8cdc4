// Package testkit is what the tests of more than one package of cluster need.
package testkit

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// Entry is a command for the log.
func Entry(index, term uint64) *raft.Log {
	data := fmt.Appendf(nil, "entry %d of term %d", index, term)
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: data}
}

// Entries are the commands from one index to another.
func Entries(from, to, term uint64) (out []*raft.Log) {
	for i := from; i <= to; i++ {
		out = append(out, Entry(i, term))
	}
	return out
}

// Contents names the files in and below a directory with their size and checksum, one a line.
func Contents(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s: %d bytes, %08x\n", path, len(b), crc32.ChecksumIEEE(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// WriteFile writes a file that only its owner may read.
func WriteFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
