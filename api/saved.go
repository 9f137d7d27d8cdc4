package api

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
	"pushquorum/fsm"
)

const (
	// pageChunk is the size of the pieces that a page is kept in and written out in. Bytes.
	pageChunk = 1 << 20
	// maxPages is how many pages are kept: one for each form in which the present state was last asked for.
	maxPages = 3
	// maxSaved is how much of them is kept beside the one that was asked for last. Bytes.
	maxSaved = 32 << 20
)

// form is how a page is asked for.
type form struct {
	format   expfmt.Format
	encoding string
}

// savedPages keeps the stored metrics as they were last written, so that a scrape of a state that has not changed costs a copy,
// compressed or not, and scrapes at the same time share the work. A page of a state that is not the present one any more is of no
// use, and goes with the next scrape.
type savedPages struct {
	mu   sync.Mutex
	list []*savedPage // most recently asked for last
	free [][]byte
}

// savedPage is the answer to one form of scrape at one view. It is written by whoever asks first.
type savedPage struct {
	form form
	view *fsm.View
	// ready is closed when chunks, leftOut and err are set.
	ready   chan struct{}
	chunks  [][]byte
	leftOut *expo.LeftOutError
	err     error

	// guarded by savedPages.mu
	size    int // bytes, 0 while it is being written
	readers int
	dropped bool // no longer in the list
}

// get returns the page for a view in a form. The caller must call done when it has read it.
func (ps *savedPages) get(ctx context.Context, view *fsm.View, f form) (p *savedPage, done func(), err error) {
	p, mine := ps.take(view, f)
	done = func() { ps.release(p) }
	if mine {
		p.write(ps)
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
		done()
		return nil, nil, ctx.Err()
	}
	if p.err != nil {
		done()
		return nil, nil, p.err
	}
	return p, done, nil
}

// take finds the page, or makes an empty one that the caller has to write.
func (ps *savedPages) take(view *fsm.View, f form) (p *savedPage, mine bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var keep []*savedPage
	for _, old := range ps.list {
		switch {
		case old.form == f && old.view.Index() >= view.Index():
			p = old // what came later holds all of the view that was asked for
		case old.view.Index() < view.Index():
			ps.dropLocked(old)
		default:
			keep = append(keep, old)
		}
	}
	if p == nil {
		p, mine = &savedPage{form: f, view: view, ready: make(chan struct{})}, true
	}
	if len(keep) >= maxPages {
		ps.dropLocked(keep[0])
		keep = keep[1:]
	}
	keep = append(keep, p)
	ps.list = keep
	p.readers++
	return p, mine
}

func (ps *savedPages) dropLocked(p *savedPage) {
	p.dropped = true
	if p.readers == 0 {
		ps.recycleLocked(p)
	}
}

func (ps *savedPages) release(p *savedPage) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.readers--; p.readers == 0 && p.dropped {
		ps.recycleLocked(p)
	}
}

// recycleLocked takes the memory of a page that nobody reads any more for the next one.
func (ps *savedPages) recycleLocked(p *savedPage) {
	ps.free = append(ps.free, p.chunks...)
	p.chunks = nil
}

func (ps *savedPages) chunk() []byte {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if n := len(ps.free); n > 0 {
		c := ps.free[n-1]
		ps.free[n-1] = nil
		ps.free = ps.free[:n-1]
		return c[:0]
	}
	return make([]byte, 0, pageChunk)
}

// settle makes room for a page that has just been written, and lets go of memory that it did not need.
func (ps *savedPages) settle(p *savedPage) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.size = p.length()
	total := 0
	for _, other := range ps.list {
		total += other.size
	}
	for len(ps.list) > 1 && ps.list[0] != p && total > maxSaved {
		total -= ps.list[0].size
		ps.dropLocked(ps.list[0])
		ps.list = ps.list[1:]
	}
	ps.free = nil
}

// errUnfinished is the error of a page whose writing has not come to its end.
var errUnfinished = errors.New("the page could not be written")

func (p *savedPage) write(ps *savedPages) {
	p.err = errUnfinished
	defer close(p.ready)
	out := &chunkWriter{ps: ps, p: p}
	compressed, err := expo.Compress(out, p.form.encoding)
	if err != nil {
		p.err = err
		return
	}
	err = expo.WriteOnce(compressed, p.form.format, p.view.Exposition())
	if errors.As(err, &p.leftOut) {
		err = nil
	}
	p.err = errors.Join(err, compressed.Close())
	ps.settle(p)
}

// length of a page that is ready, in bytes.
func (p *savedPage) length() int {
	n := 0
	for _, c := range p.chunks {
		n += len(c)
	}
	return n
}

// WriteTo implements io.WriterTo.
func (p *savedPage) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for _, c := range p.chunks {
		n, err := w.Write(c)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// chunkWriter appends to a page's chunks.
type chunkWriter struct {
	ps *savedPages
	p  *savedPage
}

// Write implements io.Writer.
func (w *chunkWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		last := len(w.p.chunks) - 1
		if last < 0 || len(w.p.chunks[last]) == cap(w.p.chunks[last]) {
			w.p.chunks = append(w.p.chunks, w.ps.chunk())
			last++
		}
		c := w.p.chunks[last]
		fits := min(len(b), cap(c)-len(c))
		w.p.chunks[last] = append(c, b[:fits]...)
		b = b[fits:]
	}
	return n, nil
}
