package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// weather is what happens to the packets that go from one host to another.
type weather struct {
	cut                      bool
	loss, duplicate, reorder float64 // probability for a packet
	delay, jitter            time.Duration
	rate                     int // bytes a second; 0: no limit
}

func (w weather) String() string {
	if w.cut {
		return "cut"
	}
	var parts []string
	for name, p := range map[string]float64{"loss": w.loss, "duplication": w.duplicate, "reordering": w.reorder} {
		if p > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f%%", name, p*100))
		}
	}
	if w.delay > 0 {
		parts = append(parts, fmt.Sprintf("delay %s±%s", w.delay, w.jitter))
	}
	if w.rate > 0 {
		parts = append(parts, fmt.Sprintf("%d kB/s", w.rate/1000))
	}
	return strings.Join(parts, ", ")
}

// path is one direction between two hosts. Packets keep their order unless they are to be reordered.
type path struct {
	deliver func([]byte)
	queue   chan packet

	mu      sync.Mutex
	chance  *rand.Rand
	weather weather
	last    time.Time // when the last packet in the queue is due
	waiting int       // in the queue
}

type packet struct {
	due  time.Time
	data []byte
}

// queueLength is how many packets may be under way; as in a real queue, those beyond are lost.
const queueLength = 1000

func newPath(chance *rand.Rand, deliver func([]byte)) *path {
	return &path{deliver: deliver, queue: make(chan packet, queueLength), chance: chance}
}

func (p *path) set(w weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
}

// send takes a packet, which it may keep only as a copy.
func (p *path) send(data []byte) {
	p.mu.Lock()
	w := p.weather
	if w.cut || p.chance.Float64() < w.loss {
		p.mu.Unlock()
		return
	}
	copies := 1
	if p.chance.Float64() < w.duplicate {
		copies = 2
	}
	now := time.Now()
	due := now.Add(w.delay)
	if w.jitter > 0 {
		due = due.Add(time.Duration(p.chance.Int64N(int64(2*w.jitter))) - w.jitter)
	}
	if w.reorder > 0 && p.chance.Float64() < w.reorder {
		p.mu.Unlock()
		late := append([]byte(nil), data...)
		time.AfterFunc(due.Sub(now)+10*time.Millisecond, func() { p.deliver(late) })
		return
	}
	if w.rate > 0 {
		due = later(due, p.last).Add(time.Duration(len(data)) * time.Second / time.Duration(w.rate))
	}
	due = later(due, p.last)
	if p.waiting == 0 && !due.After(now) {
		p.mu.Unlock()
		for range copies {
			p.deliver(data)
		}
		return
	}
	for range copies {
		if p.waiting < queueLength {
			p.waiting++
			p.last = due
			p.queue <- packet{due, append([]byte(nil), data...)}
		}
	}
	p.mu.Unlock()
}

// run delivers what had to wait, until quit is closed.
func (p *path) run(quit <-chan struct{}) {
	for {
		select {
		case next := <-p.queue:
			if wait := time.Until(next.due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-quit:
					return
				}
			}
			p.mu.Lock()
			p.waiting--
			cut := p.weather.cut
			p.mu.Unlock()
			if !cut {
				p.deliver(next.data)
			}
		case <-quit:
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
