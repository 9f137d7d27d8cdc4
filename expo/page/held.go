package page

// Room is asked before a page that is being made grows by so many bytes. An error says that there is no room for them,
// and ends the making.
type Room func(bytes int) error

func (r Room) take(bytes int) error {
	if r == nil {
		return nil
	}
	return r(bytes)
}

// segmentOverhead is about how many bytes a segment takes beside its content, its parts and its runs.
const segmentOverhead = 256

// memory is how many bytes the segment takes beside the families it is made of.
func (s *segment) memory() int {
	n := segmentOverhead + len(s.content) + 8*(len(s.parts)+len(s.lines)) + 128*len(s.runs)
	for i := range s.more {
		n += len(s.more[i].content) + 64
	}
	return n
}

// Hold says that one more holds the page. It returns by how many bytes those who hold pages hold more now: a page
// shares most of its memory with the one it was made of.
func (p *Page) Hold() (bytes int64) {
	for _, s := range p.segments {
		if s.holders.Add(1) == 1 {
			bytes += int64(s.memory())
		}
	}
	return bytes
}

// Release is the opposite of Hold.
func (p *Page) Release() (bytes int64) {
	for _, s := range p.segments {
		if s.holders.Add(-1) == 0 {
			bytes += int64(s.memory())
		}
	}
	return bytes
}

// Shown is how many bytes of metrics the page was made of, and keeps from being freed when they have been replaced.
func (p *Page) Shown() int64 { return p.shown }
