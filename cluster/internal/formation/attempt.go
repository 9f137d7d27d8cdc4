package formation

import (
	"errors"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// Attempt is a coordinator's attempt to form a cluster of one set. A further try with the same set keeps the cluster
// id, so that promises already made are renewed and not broken. Giving promises back and founding exclude each other.
type Attempt struct {
	own     *Promises
	newID   func() (uuid.UUID, error)
	decided func(uuid.UUID) bool

	mu      sync.Mutex
	set     []uuid.UUID
	cluster uuid.UUID // zero: no attempt
}

// NewAttempt makes an Attempt that has not begun. own is what this replica promises itself, newID draws the id of a
// cluster, and decided tells whether this replica has formed a cluster, or has written down that it does.
func NewAttempt(own *Promises, newID func() (uuid.UUID, error), decided func(cluster uuid.UUID) bool) *Attempt {
	return &Attempt{own: own, newID: newID, decided: decided}
}

// Begin gives the cluster id of the attempt for a set; an attempt for another set ends, and this replica's promise for
// it.
func (a *Attempt) Begin(set []uuid.UUID) (cluster uuid.UUID, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cluster != uuid.Nil && slices.Equal(a.set, set) {
		return a.cluster, nil
	}
	fresh, err := a.newID()
	if err != nil {
		return uuid.Nil, err
	}
	if err := a.own.releaseOwn(); err != nil {
		return uuid.Nil, err
	}
	a.set, a.cluster = set, fresh
	return fresh, nil
}

// Release aborts the attempt with this cluster id, which is then never acted on, so that who has promised may take its
// promise back; an error means that the attempt has been acted on, or that the promise of this replica itself cannot be
// taken back.
func (a *Attempt) Release(cluster uuid.UUID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.decided(cluster) {
		return errors.New("has formed the cluster")
	}
	if err := a.own.Release(cluster); err != nil {
		return err
	}
	if a.cluster == cluster {
		a.set, a.cluster = nil, uuid.Nil
	}
	return nil
}

// Abort ends the present attempt, if there is one.
func (a *Attempt) Abort() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set, a.cluster = nil, uuid.Nil
	return a.own.releaseOwn()
}

// Commit runs the founding unless the attempt has ended; the two exclude each other.
func (a *Attempt) Commit(cluster uuid.UUID, found func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cluster != cluster {
		return errors.New("the attempt to form a cluster was given up at another replica's request")
	}
	return found()
}
