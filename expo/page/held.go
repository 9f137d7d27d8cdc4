package page

// Room is asked before a page that is being made grows by so many bytes. With an error it refuses them, and the page is
// given up.
type Room func(bytes int) error

func (r Room) take(bytes int) error {
	if r == nil {
		return nil
	}
	return r(bytes)
}

// segmentOverhead is about how many bytes a segment takes beside its content, its parts and its runs.
const segmentOverhead = 256

// memory returns how many bytes the segment takes beside the families it is made of.
func (s *segment) memory() int {
	n := segmentOverhead + len(s.content) + 8*(len(s.parts)+len(s.lines)) + 128*len(s.runs)
	for i := range s.more {
		n += len(s.more[i].content) + 64
	}
	return n
}

// Hold adds a holder to the page. It returns how many bytes of the page no other page that is held has, too: a page
// shares most of its memory with the one it was made of.
func (p *Page) Hold() (bytes int64) {
	for _, s := range p.segments {
		if s.holders.Add(1) == 1 {
			bytes += int64(s.memory())
		}
	}
	return bytes
}

// Release takes a holder from the page. It returns how many bytes nobody holds any more.
func (p *Page) Release() (bytes int64) {
	for _, s := range p.segments {
		if s.holders.Add(-1) == 0 {
			bytes += int64(s.memory())
		}
	}
	return bytes
}

// Shown returns how many bytes of metrics the page was made of. They are not freed, even when they have been replaced,
// as long as the page is there.
func (p *Page) Shown() int64 { return p.shown }
