package wal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"

	"pushquorum/cluster/internal/testkit"
)

// The memory of an append is that of the one before: what was written must not change with it.
func TestEntriesOfAllSizesAreReadAsTheyWereWritten(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it stores a hundred batches of random entries")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	dir := t.TempDir()
	w := openTestWAL(t, dir, &fullDisk{VFS: walfs.New()})
	var model []*raft.Log
	for range 100 {
		var batch []*raft.Log
		for range 1 + rng.IntN(30) {
			batch = append(batch, randomEntry(rng, uint64(len(model)+len(batch)+1)))
		}
		if err := w.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
		model = append(model, batch...)
	}
	mustBe := func(w *Store) {
		t.Helper()
		for _, want := range model {
			var got raft.Log
			if err := w.GetLog(want.Index, &got); err != nil {
				t.Fatal(err)
			}
			if got.Term != want.Term || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) ||
				!bytes.Equal(got.Extensions, want.Extensions) || !got.AppendedAt.Equal(want.AppendedAt) {
				t.Fatalf("entry %d of %d bytes is not what was written", want.Index, len(want.Data))
			}
		}
	}
	mustBe(w)
	if size := cap(w.codec.memory); size > maxAppend {
		t.Errorf("%d bytes are kept for the next append, at most %d should be", size, maxAppend)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = openTestWAL(t, dir, &fullDisk{VFS: walfs.New()})
	mustBe(w)
	_ = w.Close()
}

func randomEntry(rng *rand.Rand, index uint64) *raft.Log {
	l := &raft.Log{
		Index: index, Term: rng.Uint64N(1 << 50), Type: raft.LogType(rng.IntN(3)),
		AppendedAt: time.Unix(rng.Int64N(1<<33), rng.Int64N(1e9)),
	}
	size := rng.IntN(2000)
	switch rng.IntN(100) {
	case 0:
		size = 2*maxAppend + rng.IntN(100)
	case 1, 2, 3, 4:
		size = maxAppend/2 + rng.IntN(maxAppend/2)
	}
	l.Data, l.Extensions = make([]byte, size), make([]byte, rng.IntN(20))
	for _, b := range [][]byte{l.Data, l.Extensions} {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	}
	return l
}

// The memory that is lent to the library has to be enough, or it makes its own.
func TestEntriesAreEncodedInTheMemoryOfTheAppend(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	c, library := new(entryCodec), new(raftwal.BinaryCodec)
	for range 100 {
		l := randomEntry(rng, rng.Uint64())
		l.Term = rng.Uint64()
		l.AppendedAt = l.AppendedAt.In(time.FixedZone("with seconds", 3601)) // its longest form
		c.begin([]*raft.Log{l})
		var got, want bytes.Buffer
		if err := c.Encode(l, &got); err != nil {
			t.Fatal(err)
		}
		if err := library.Encode(l, &want); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("an entry of %d bytes is\n%.200x\nand in the library's codec\n%.200x",
				len(l.Data), got.Bytes(), want.Bytes())
		}
		if EncodedSize(l) <= maxAppend && &got.Bytes()[0] != &c.memory[0] {
			t.Fatalf("an entry of %d bytes took %d where there was room for %d, and was moved",
				len(l.Data), got.Len(), EncodedSize(l))
		}
	}
}

func TestOneAppendIsNotLargerThanItMayBe(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it makes thousands of entries")
	}
	rng := rand.New(rand.NewPCG(9, 10))
	c, parts := new(entryCodec), 0
	for range 200 {
		var logs []*raft.Log
		for i := range 1 + rng.IntN(40) {
			logs = append(logs, randomEntry(rng, uint64(i)))
		}
		for ; len(logs) > 0; parts++ {
			n := c.begin(logs)
			size := 0
			for _, l := range logs[:n] {
				size += EncodedSize(l)
			}
			if n > 1 && size > maxAppend || n < len(logs) && size+EncodedSize(logs[n]) <= maxAppend {
				t.Fatalf("%d of %d entries, %d bytes, are appended at once", n, len(logs), size)
			}
			logs = logs[n:]
		}
	}
	if parts <= 300 {
		t.Errorf("200 batches were appended in %d parts: this tests too little", parts)
	}
}

func TestALogInTheLibrarysCodecGoesOnInIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := filepath.Join(dir, Dir)
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	earlier, err := raftwal.Open(files, raftwal.WithMetaStore(&segmentList{path: filepath.Join(files, SegmentsFile)}),
		raftwal.WithSegmentFiler(segment.NewFiler(files, walfs.New())), raftwal.WithSegmentSize(4<<10),
		raftwal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if err := earlier.StoreLogs(testkit.Entries(1, 100, 1)); err != nil {
		t.Fatal(err)
	}
	if err := earlier.Close(); err != nil {
		t.Fatal(err)
	}
	for next := uint64(101); next < 1000; next += 100 { // into new segments, which are read at the next start
		w := openTestWAL(t, dir, &fullDisk{VFS: walfs.New()})
		if err := w.StoreLogs(testkit.Entries(next, next+99, 1)); err != nil {
			t.Fatal(err)
		}
		mustRead(t, w, next+99)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
