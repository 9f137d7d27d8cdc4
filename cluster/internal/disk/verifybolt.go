package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file (format version 2), as far as it has to be read without trusting it. bbolt itself panics,
// some of it in goroutines nobody can recover, or reads wild memory when a page is damaged, and it takes the older of
// its two meta pages without a word when the newer one is broken, which would drop the last acknowledged write.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	boltMetaSize = 64 // up to and without the checksum is 56
	boltHeader   = 16 // id u64, flags u16, count u16, overflow u32
	boltElement  = 16 // branch: pos u32, ksize u32, pgid u64; leaf: flags u32, pos u32, ksize u32, vsize u32
	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltMetaPage = 0x04
	boltBucket   = 0x01
	boltMaxDepth = 64
)

// boltMeta is one of the two meta pages.
type boltMeta struct {
	pageSize uint32
	root     uint64 // page of the root bucket
	freelist uint64
	pages    uint64 // high-water mark: pages in use
	tx       uint64
}

const boltNoFreelist = ^uint64(0)

// decodeBoltMeta reads a meta page, header included.
func decodeBoltMeta(b []byte, id uint64) (boltMeta, error) {
	if len(b) < boltHeader+boltMetaSize {
		return boltMeta{}, fmt.Errorf("meta page %d is cut off", id)
	}
	le := binary.NativeEndian // bbolt writes its structs as they lie in memory
	if le.Uint64(b) != id || le.Uint16(b[8:]) != boltMetaPage {
		return boltMeta{}, fmt.Errorf("meta page %d is damaged", id)
	}
	m := b[boltHeader:]
	h := fnv.New64a()
	_, _ = h.Write(m[:56])
	if le.Uint32(m) != boltMagic || le.Uint32(m[4:]) != boltVersion || le.Uint64(m[56:]) != h.Sum64() {
		return boltMeta{}, fmt.Errorf("meta page %d is damaged", id)
	}
	return boltMeta{
		pageSize: le.Uint32(m[8:]),
		root:     le.Uint64(m[16:]),
		freelist: le.Uint64(m[32:]),
		pages:    le.Uint64(m[40:]),
		tx:       le.Uint64(m[48:]),
	}, nil
}

// boltFile walks the pages of a bbolt file.
type boltFile struct {
	r    io.ReaderAt
	size int64
	meta boltMeta
	seen map[uint64]bool // every page may be reached once
}

// openBoltFile checks both meta pages and the size of the file.
func openBoltFile(r io.ReaderAt, size int64) (*boltFile, error) {
	f := &boltFile{r: r, size: size, seen: map[uint64]bool{0: true, 1: true}}
	first := make([]byte, boltHeader+boltMetaSize)
	if _, err := r.ReadAt(first, 0); err != nil {
		return nil, errors.New("cut off within the first page")
	}
	meta0, err := decodeBoltMeta(first, 0)
	if err != nil {
		return nil, err
	}
	if meta0.pageSize < 512 || meta0.pageSize > 1<<20 {
		return nil, fmt.Errorf("page size %d", meta0.pageSize)
	}
	if _, err := r.ReadAt(first, int64(meta0.pageSize)); err != nil {
		return nil, errors.New("cut off within the second page")
	}
	meta1, err := decodeBoltMeta(first, 1)
	if err != nil {
		return nil, err
	}
	if meta0.pageSize != meta1.pageSize {
		return nil, errors.New("the two meta pages differ in page size")
	}
	f.meta = meta0
	if meta1.tx > meta0.tx {
		f.meta = meta1
	}
	if f.meta.pages > uint64(size)/uint64(f.meta.pageSize) {
		return nil, fmt.Errorf("cut off: %d bytes, but %d pages of %d bytes are in use", size, f.meta.pages,
			f.meta.pageSize)
	}
	if f.meta.freelist != boltNoFreelist && f.meta.freelist >= f.meta.pages {
		return nil, errors.New("the free list lies outside the file")
	}
	return f, nil
}

// buckets gives the content of the root bucket: bucket names and their headers.
func (f *boltFile) buckets() (map[string][]byte, error) {
	out := map[string][]byte{}
	err := f.walk(f.meta.root, nil, nil, 0, func(flags uint32, k, v []byte) error {
		if flags != boltBucket {
			return fmt.Errorf("unexpected key %q beside the buckets", k)
		}
		out[string(k)] = bytes.Clone(v)
		return nil
	})
	return out, err
}

// isInline tells whether a bucket is so small that it lies behind its own header.
func isInline(header []byte) bool {
	return len(header) >= 16 && binary.NativeEndian.Uint64(header) == 0
}

// bucket walks a bucket, given its header, in order of key. The slices are valid during the call only.
func (f *boltFile) bucket(header []byte, each func(k, v []byte) error) error {
	if len(header) < 16 {
		return errors.New("a bucket's header is cut off")
	}
	leaf := func(flags uint32, k, v []byte) error {
		if flags != 0 {
			return fmt.Errorf("key %q is not a plain value", k)
		}
		return each(k, v)
	}
	if !isInline(header) {
		return f.walk(binary.NativeEndian.Uint64(header), nil, nil, 0, leaf)
	}
	page := header[16:] // a small bucket lies inside the value of its parent
	if len(page) < boltHeader || binary.NativeEndian.Uint16(page[8:]) != boltLeaf ||
		binary.NativeEndian.Uint64(page) != 0 || binary.NativeEndian.Uint32(page[12:]) != 0 {
		return errors.New("an inline bucket is damaged")
	}
	return elements(page, func(flags uint32, k, v []byte, _ uint64) error { return leaf(flags, k, v) })
}

// walk visits the leaf elements below a page. Keys must be at least low and below high (nil: no bound).
func (f *boltFile) walk(id uint64, low, high []byte, depth int, leaf func(flags uint32, k, v []byte) error) error {
	page, err := f.page(id)
	if err != nil {
		return err
	}
	if depth > boltMaxDepth {
		return fmt.Errorf("page %d is nested too deep", id)
	}
	isLeaf := binary.NativeEndian.Uint16(page[8:]) == boltLeaf
	type child struct {
		key []byte
		id  uint64
	}
	var children []child
	prev := low
	firstKey := true
	err = elements(page, func(flags uint32, k, v []byte, pgid uint64) error {
		if cmp := bytes.Compare(k, prev); (firstKey && cmp < 0) || (!firstKey && cmp <= 0) {
			return fmt.Errorf("page %d: keys are out of order", id)
		}
		if high != nil && bytes.Compare(k, high) >= 0 {
			return fmt.Errorf("page %d: a key lies beyond the page's range", id)
		}
		firstKey, prev = false, k
		if isLeaf {
			return leaf(flags, k, v)
		}
		children = append(children, child{k, pgid})
		return nil
	})
	if err != nil {
		return err
	}
	if !isLeaf && len(children) == 0 {
		return fmt.Errorf("page %d: a branch without children", id)
	}
	for i, c := range children {
		end := high
		if i+1 < len(children) {
			end = children[i+1].key
		}
		if err := f.walk(c.id, c.key, end, depth+1, leaf); err != nil {
			return err
		}
	}
	return nil
}

// page reads a branch or leaf page with its overflow pages.
func (f *boltFile) page(id uint64) ([]byte, error) {
	size := uint64(f.meta.pageSize)
	if id < 2 || id >= f.meta.pages {
		return nil, fmt.Errorf("page %d lies outside the file", id)
	}
	head := make([]byte, boltHeader)
	if _, err := f.r.ReadAt(head, int64(id*size)); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	flags, overflow := binary.NativeEndian.Uint16(head[8:]), uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || (flags != boltLeaf && flags != boltBranch) ||
		id+overflow >= f.meta.pages {
		return nil, fmt.Errorf("page %d is damaged", id)
	}
	for i := id; i <= id+overflow; i++ {
		if f.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		f.seen[i] = true
	}
	page := make([]byte, (overflow+1)*size)
	if _, err := f.r.ReadAt(page, int64(id*size)); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return page, nil
}

// elements visits the elements of a page. bbolt writes their data one after the other, directly behind the element
// table: an element that was lost, moved or stretched shows.
func elements(page []byte, each func(flags uint32, k, v []byte, pgid uint64) error) error {
	ne := binary.NativeEndian
	id, isLeaf, count := ne.Uint64(page), ne.Uint16(page[8:]) == boltLeaf, int(ne.Uint16(page[10:]))
	next := uint64(boltHeader + count*boltElement)
	if next > uint64(len(page)) {
		return fmt.Errorf("page %d is damaged", id)
	}
	for i := range count {
		at := boltHeader + i*boltElement
		e := page[at:]
		var flags, pos, ksize, vsize uint32
		var pgid uint64
		if isLeaf {
			flags, pos, ksize, vsize = ne.Uint32(e), ne.Uint32(e[4:]), ne.Uint32(e[8:]), ne.Uint32(e[12:])
		} else {
			pos, ksize, pgid = ne.Uint32(e), ne.Uint32(e[4:]), ne.Uint64(e[8:])
		}
		start := uint64(at) + uint64(pos)
		end := start + uint64(ksize) + uint64(vsize)
		if start != next || end > uint64(len(page)) || ksize == 0 {
			return fmt.Errorf("page %d is damaged at element %d", id, i)
		}
		next = end
		k := page[start : start+uint64(ksize)]
		v := page[start+uint64(ksize) : end]
		if err := each(flags, k, v, pgid); err != nil {
			return err
		}
	}
	return nil
}
