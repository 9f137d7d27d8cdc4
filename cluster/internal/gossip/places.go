package gossip

import (
	"slices"
	"sync"
)

// Places are the gossip addresses that --cluster.peer leads to: what each name last resolved to.
type Places struct {
	Reached chan struct{} // closed when one of them has answered, or all of them are this replica itself
	once    sync.Once

	mu sync.Mutex
	of map[string][]string // by peer
}

// NewPlaces makes Places that lead nowhere yet.
func NewPlaces() *Places { return &Places{Reached: make(chan struct{}), of: map[string][]string{}} }

// Set notes what a peer stands for now, as host:port.
func (p *Places) Set(peer string, addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of[peer] = addresses
}

// WereReached notes that one of them has answered.
func (p *Places) WereReached() { p.once.Do(func() { close(p.Reached) }) }

// Has tells whether a peer leads to the address, host:port.
func (p *Places) Has(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, addresses := range p.of {
		if slices.Contains(addresses, address) {
			return true
		}
	}
	return false
}
