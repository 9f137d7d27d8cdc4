package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/durable"
	"pushquorum/cluster/internal/server"
)

const (
	// IdentityFile is where the identity is.
	IdentityFile = "replica.json"
	// identityVersion is that of its form.
	identityVersion = 1
	// RaftFile is where term and vote are, and with LogBbolt the log.
	RaftFile = "raft.db"
	// TailFileName is where it says what the log holds at least.
	TailFileName = "raft.tail"
	// SnapshotsDir is where the snapshots are.
	SnapshotsDir = "snapshots"
)

// IdentityRecord is what replica.json says. A replica is its ID and nothing else: names and addresses may change at
// every start.
type IdentityRecord struct {
	Version int       `json:"version"`
	ID      uuid.UUID `json:"id"`
	// Starts grows by one at each start, so that others can tell the present process from the entry it left behind.
	Starts uint64 `json:"starts"`
	// HasRaftState is true once this replica has had Raft state; it is set before anyone can be told about that state.
	// A directory without state, of which this is true, has lost it and must never vote or acknowledge again. In the
	// file it is called what it was first called.
	HasRaftState bool `json:"member"`
	// Cluster is the one cluster whose Raft traffic this replica accepts; zero until it has been admitted.
	Cluster uuid.UUID `json:"cluster"`
	// Promised is the cluster this replica has promised PromisedTo to be part of, should that form it.
	Promised   uuid.UUID `json:"promised"`
	PromisedTo uuid.UUID `json:"promised_to"`
	// Forming are the addresses of the servers, all voters, with which this replica has decided to found Cluster. It is
	// written before Raft is told, and taken away when the configuration is in the log: until then nobody but this
	// replica has state of the cluster, so that founding can be done again.
	Forming []raft.ServerAddress `json:"forming,omitempty"`
	// Checksum is CRC-32C over the other fields, in hex.
	Checksum string `json:"crc32c"`
}

func (r IdentityRecord) checksum() string {
	s := fmt.Sprintf("%d %s %d %t %s %s %s", r.Version, r.ID, r.Starts, r.HasRaftState, r.Cluster, r.Promised,
		r.PromisedTo)
	if len(r.Forming) > 0 { // so that a record without it has the checksum it always had
		s += fmt.Sprintf(" %q", r.Forming)
	}
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(s), durable.Castagnoli()))
}

// decodeIdentity reads the bytes of replica.json. The error does not name the file.
func decodeIdentity(b []byte) (IdentityRecord, error) {
	var r IdentityRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("cannot be read: %w", err)
	}
	if got := r.checksum(); r.Checksum != got {
		return r, fmt.Errorf("damaged: checksum mismatch: it is %q, should be %q", r.Checksum, got)
	}
	if r.Version != identityVersion {
		return r, fmt.Errorf("version %d is not known to this program, which knows %d", r.Version, identityVersion)
	}
	if r.ID == uuid.Nil {
		return r, errors.New("id is zero")
	}
	return r, nil
}

// encodeIdentity gives the bytes of replica.json, with their checksum.
func encodeIdentity(r IdentityRecord) ([]byte, error) {
	r.Checksum = r.checksum()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// Identity is replica.json, kept open in memory; every change is on disk before the method returns.
type Identity struct {
	dir string

	mu  sync.Mutex
	rec IdentityRecord
}

// OpenIdentity reads replica.json, or makes one in a directory that holds no Raft state. It writes nothing yet for
// an existing one: only [Identity.Started] does, after the directory has been checked.
func OpenIdentity(dir string) (*Identity, error) {
	id := &Identity{dir: dir}
	b, err := os.ReadFile(id.path())
	switch {
	case err == nil:
		if id.rec, err = decodeIdentity(b); err != nil {
			return nil, durable.Damaged(id.path(), "%w", err)
		}
		return id, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the replica's identity: %w", err)
	}
	for _, name := range []string{RaftFile, TailFileName, SnapshotsDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return nil, durable.Damaged(id.path(), "missing, though %s exists", filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("looking into the data directory: %w", err)
		}
	}
	fresh, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("making a replica id: %w", err)
	}
	id.rec = IdentityRecord{Version: identityVersion, ID: fresh}
	return id, nil
}

// HoldsReplica tells whether a replica was started in a data directory before, as far as that can be seen.
func HoldsReplica(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, IdentityFile))
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

func (i *Identity) path() string { return filepath.Join(i.dir, IdentityFile) }

// Get gives the record as it is on the disk.
func (i *Identity) Get() IdentityRecord {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.rec
}

// Update changes the record and writes it through; nothing has changed in memory when it fails.
func (i *Identity) Update(change func(*IdentityRecord)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := i.rec
	change(&next)
	old, err := encodeIdentity(i.rec)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", i.path(), err)
	}
	b, err := encodeIdentity(next)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", i.path(), err)
	}
	if bytes.Equal(b, old) {
		return nil
	}
	if err := durable.WriteFile(i.path(), b); err != nil {
		return fmt.Errorf("writing the replica's identity: %w", err)
	}
	i.rec = next
	return nil
}

// Started records one more start. A replica without Raft state is bound to no cluster, whatever it was promised before;
// with state, what it was forming is formed.
func (i *Identity) Started(hasState bool) error {
	return i.Update(func(r *IdentityRecord) {
		r.Starts++
		if hasState {
			r.HasRaftState, r.Forming = true, nil
		} else {
			r.Cluster = uuid.Nil
		}
	})
}

// setHasRaftState records that Raft state exists. It is called after the state is on disk and before anyone hears of
// it.
func (i *Identity) setHasRaftState() error {
	if i.Get().HasRaftState {
		return nil
	}
	return i.Update(func(r *IdentityRecord) { r.HasRaftState = true })
}

// SavePromise writes down what was promised.
func (i *Identity) SavePromise(cluster, coordinator uuid.UUID) error {
	return i.Update(func(r *IdentityRecord) { r.Promised, r.PromisedTo = cluster, coordinator })
}

// ErrOtherCluster is the reason why a replica that is bound refuses to be bound again.
var ErrOtherCluster = errors.New("belongs to another cluster")

// Found binds the replica to a cluster that it forms with these servers, before Raft is told.
func (i *Identity) Found(cluster uuid.UUID, servers []raft.Server) error {
	return i.Update(func(r *IdentityRecord) {
		r.Cluster, r.Forming = cluster, make([]raft.ServerAddress, len(servers))
		for at, s := range servers {
			r.Forming[at] = s.Address
		}
	})
}

// Founded records that the configuration is in the log.
func (i *Identity) Founded() error { return i.Update(func(r *IdentityRecord) { r.Forming = nil }) }

// formingServers gives what this replica has decided to form and has not recorded as formed.
func (r IdentityRecord) formingServers() (servers []raft.Server, err error) {
	for _, address := range r.Forming {
		a, err := server.ParseAddress(address)
		if err != nil {
			return nil, err
		}
		servers = append(servers, raft.Server{Suffrage: raft.Voter, ID: a.ServerID(), Address: address})
	}
	return servers, nil
}

// Bind ties the replica to a cluster for as long as it has state.
func (i *Identity) Bind(cluster uuid.UUID) error {
	if cluster == uuid.Nil {
		return errors.New("binding to no cluster")
	}
	if have := i.Get().Cluster; have != uuid.Nil && have != cluster {
		return ErrOtherCluster
	}
	return i.Update(func(r *IdentityRecord) { r.Cluster = cluster })
}
