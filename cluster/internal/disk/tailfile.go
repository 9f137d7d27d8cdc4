package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"pushquorum/cluster/internal/durable"
)

const (
	tailVersion = 1
	tailSize    = 28 // version u32, First u64, Last u64, Chain u32, CRC-32C of these u32
)

// tail says which entries the log holds, 0 = none, and the checksum of the last one. What raft.tail says is the least
// that raft.db must hold: it may be behind, never ahead.
type tail struct {
	First, Last uint64
	Chain       uint32
}

func encodeTail(t tail) []byte {
	b := binary.BigEndian.AppendUint32(nil, tailVersion)
	b = binary.BigEndian.AppendUint64(b, t.First)
	b = binary.BigEndian.AppendUint64(b, t.Last)
	b = binary.BigEndian.AppendUint32(b, t.Chain)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, durable.Castagnoli()))
}

// decodeTail reads the bytes of raft.tail. The error does not name the file.
func decodeTail(b []byte) (tail, error) {
	if len(b) != tailSize {
		return tail{}, fmt.Errorf("damaged: %d bytes long, should be %d", len(b), tailSize)
	}
	if sum := crc32.Checksum(b[:24], durable.Castagnoli()); binary.BigEndian.Uint32(b[24:]) != sum {
		return tail{}, errors.New("damaged: checksum mismatch")
	}
	if v := binary.BigEndian.Uint32(b); v != tailVersion {
		return tail{}, fmt.Errorf("version %d is not known to this program, which knows %d", v, tailVersion)
	}
	t := tail{
		First: binary.BigEndian.Uint64(b[4:]), Last: binary.BigEndian.Uint64(b[12:]),
		Chain: binary.BigEndian.Uint32(b[20:]),
	}
	if t.First > t.Last || (t.First == 0) != (t.Last == 0) {
		return tail{}, fmt.Errorf("says that the log holds entries %d to %d", t.First, t.Last)
	}
	return t, nil
}

// missing tells what a log that holds entries first to last lacks.
func (t tail) missing(first, last uint64) error {
	if t.Last != 0 && (first == 0 || first > t.First || last < t.Last) {
		return fmt.Errorf("the log has entries %d to %d, should have %d to %d", first, last, t.First, t.Last)
	}
	return nil
}

// readTail reads raft.tail. It must exist if, and may only say something if, there is a raft.db.
func readTail(path, raftPath string, raftExists bool) (tail, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !raftExists:
		return tail{}, nil
	case errors.Is(err, fs.ErrNotExist):
		return tail{}, durable.Damaged(path, "missing, though %s exists", raftPath)
	case err != nil:
		return tail{}, durable.Damaged(path, "cannot be read: %w", err)
	}
	t, err := decodeTail(b)
	if err != nil {
		return tail{}, durable.Damaged(path, "%w", err)
	}
	if !raftExists && t.Last != 0 {
		return tail{}, durable.Damaged(raftPath, "missing, though it should hold entries %d to %d", t.First, t.Last)
	}
	return t, nil
}

// tailFile is raft.tail, open for writing.
type tailFile struct {
	f       *os.File // nil: nothing may change
	counted bool     // whether the file system counts the names of a file
}

// errDeleted means that what was written cannot be found again.
var errDeleted = errors.New("the file has been deleted")

// openTailFile opens raft.tail, or makes an empty one.
func openTailFile(path string) (*tailFile, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := durable.WriteFile(path, encodeTail(tail{})); err != nil {
			return nil, fmt.Errorf("making %s: %w", path, err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	n, err := links(f)
	return &tailFile{f: f, counted: n > 0}, err
}

// save overwrites the record in place. It lies within one sector and one page, so it is written whole or not at all.
// Unless it is to be durable, it reaches the disk when the system finds time.
func (t *tailFile) save(next tail, durable bool) error {
	if t.f == nil {
		return nil
	}
	if _, err := t.f.WriteAt(encodeTail(next), 0); err != nil {
		return err
	}
	if durable {
		if err := t.f.Sync(); err != nil {
			return err
		}
	}
	// What was written is acknowledged next, and must not be where nobody finds it.
	if n, err := links(t.f); err == nil && n == 0 && t.counted {
		return fmt.Errorf("%s: %w", t.f.Name(), errDeleted)
	}
	return nil
}

// Close releases the file.
func (t *tailFile) Close() error {
	if t.f == nil {
		return nil
	}
	return t.f.Close()
}
