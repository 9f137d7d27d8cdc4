package powerfs

import (
	"math/rand/v2"
	"sync"
	"time"
)

const sector = 512

// Disk is what is left when no file system is mounted on it, and what one that is mounted works on.
type Disk struct {
	mu      sync.Mutex
	nodes   map[uint64]*node
	next    uint64
	journal []change // of directories, not yet durable, in order

	used     int64 // bytes in files, those that were never written not counted
	capacity int64
	slow     time.Duration
}

// node is a file or a directory, as the processes see it (data, names) and as it is on the platter (disk, durable).
type node struct {
	ino  uint64
	dir  bool
	mode uint32
	when time.Time
	gone bool // it has no name any more; who has it open has it still

	data, disk []byte
	// filled is how far it was written: what only makes a file longer takes no space, as there is no fallocate.
	filled  int64
	pending []write // since the last fsync, in order
	names   map[string]*node
	durable map[string]*node
}

// write is one change of a file: data at an offset, or a new size when data is nil.
type write struct {
	offset int64
	data   []byte
}

// change sets names of directories, all or none: a rename sets two. A nil node takes the name away.
type change []entry

type entry struct {
	dir  *node
	name string
	node *node
}

// New is an empty disk of so many bytes.
func New(capacity int64) *Disk {
	d := &Disk{nodes: map[uint64]*node{}, capacity: capacity}
	d.make(true, 0o700) // the root has inode 1
	return d
}

func (d *Disk) make(dir bool, mode uint32) *node {
	d.next++
	n := &node{ino: d.next, dir: dir, mode: mode, when: time.Now()}
	if dir {
		n.names, n.durable = map[string]*node{}, map[string]*node{}
	}
	d.nodes[n.ino] = n
	return n
}

// SetSlow makes every write and fsync take so much longer; 0 ends it.
func (d *Disk) SetSlow(each time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = each
}

// SetFree leaves so many bytes free, whatever the disk holds.
func (d *Disk) SetFree(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = d.used + bytes
}

// Erase is a new disk in the place of the old one.
func (d *Disk) Erase() {
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := New(d.capacity)
	d.nodes, d.next, d.journal, d.used = fresh.nodes, fresh.next, nil, 0
}

// CutPower forgets what was not durable, but for what chance lets survive. Nothing may be mounted or open. It returns
// how many writes were not durable, and how many bytes of them were lost.
func (d *Disk) CutPower(chance *rand.Rand) (writes, lost int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.journal) > 0 {
		d.commit(chance.IntN(len(d.journal) + 1))
	}
	d.journal = nil
	for ino := uint64(1); ino <= d.next; ino++ { // in this order, so that chance decides the same again
		n := d.nodes[ino]
		if n == nil || n.dir {
			continue
		}
		writes += len(n.pending)
		for _, w := range n.pending {
			lost += n.survive(w, chance)
		}
		n.pending, n.data = nil, append([]byte(nil), n.disk...)
	}
	for _, n := range d.nodes {
		if n.dir {
			n.names = make(map[string]*node, len(n.durable))
			for name, to := range n.durable {
				n.names[name] = to
			}
		}
	}
	d.sweep()
	return writes, lost
}

// survive lets each sector of a write reach the platter or not, and returns how many bytes did not.
func (n *node) survive(w write, chance *rand.Rand) (lost int) {
	if w.data == nil {
		if chance.IntN(2) == 0 {
			n.disk = resized(n.disk, w.offset)
		}
		return 0
	}
	for len(w.data) > 0 {
		size := min(len(w.data), int(sector-w.offset%sector))
		if chance.IntN(2) == 0 {
			n.disk = written(n.disk, w.offset, w.data[:size])
		} else {
			lost += size
		}
		w.offset, w.data = w.offset+int64(size), w.data[size:]
	}
	return lost
}

// commit makes the first changes of the journal durable.
func (d *Disk) commit(n int) {
	for _, c := range d.journal[:n] {
		for _, e := range c {
			if e.node == nil {
				delete(e.dir.durable, e.name)
			} else {
				e.dir.durable[e.name] = e.node
			}
		}
	}
	d.journal = d.journal[n:]
}

// syncFile is fsync of a file.
func (n *node) syncFile() {
	for _, w := range n.pending {
		if w.data == nil {
			n.disk = resized(n.disk, w.offset)
		} else {
			n.disk = written(n.disk, w.offset, w.data)
		}
	}
	n.pending = nil
}

// syncDir is fsync of a directory: the journal is written up to the last change of it.
func (d *Disk) syncDir(dir *node) {
	for i := len(d.journal) - 1; i >= 0; i-- {
		for _, e := range d.journal[i] {
			if e.dir == dir {
				d.commit(i + 1)
				return
			}
		}
	}
}

// apply does a change for the processes, and writes it into the journal.
func (d *Disk) apply(c change) {
	for _, e := range c {
		if e.node == nil {
			delete(e.dir.names, e.name)
		} else {
			e.dir.names[e.name] = e.node
		}
	}
	d.journal = append(d.journal, c)
}

// sweep forgets what has no name any more. Nothing may be open.
func (d *Disk) sweep() {
	reached := map[uint64]*node{}
	var walk func(*node)
	walk = func(n *node) {
		reached[n.ino] = n
		for _, names := range []map[string]*node{n.names, n.durable} {
			for _, to := range names {
				if reached[to.ino] == nil {
					walk(to)
				}
			}
		}
	}
	walk(d.nodes[1])
	d.nodes, d.used = reached, 0
	for _, n := range reached {
		n.gone = false
		n.filled = min(n.filled, int64(len(n.data)))
		d.used += n.filled
	}
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func written(b []byte, offset int64, data []byte) []byte {
	if end := offset + int64(len(data)); end > int64(len(b)) {
		b = resized(b, end)
	}
	copy(b[offset:], data)
	return b
}
