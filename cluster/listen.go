package cluster

import "pushquorum/cluster/internal/listening"

// ListenFault is what is wrong with an address on which this process cannot listen, without the address and the names
// of system calls.
func ListenFault(err error) error { return listening.Fault(err) }

// ListenMend is what can be done about it.
func ListenMend(err error) string { return listening.Mend(err) }
