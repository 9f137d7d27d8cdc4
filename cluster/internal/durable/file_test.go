package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"pushquorum/cluster/internal/durable"
)

func TestAFileIsReplacedAsAWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"first", "2"} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Fatalf("read %q, %v; want %q", b, err, content)
		}
	}
	if err := os.MkdirAll(filepath.Join(path+".tmp", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("third")); err == nil {
		t.Fatal("no error though the file could not be made")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "2" {
		t.Errorf("a write that failed has left %q, %v", b, err)
	}
}
