// Command chaos attacks a cluster of real PushQuorum processes while clients use it, and checks what they saw.
// README.md says how to run it and what it does.
//
//	main → inside (namespaces of its own) → run ─┬─ cluster   replicas on hosts: a network, disk and clock for each
//	                                             ├─ clients   writers and scrapers → history
//	                                             ├─ watch     state hashes of all replicas, index by index
//	                                             └─ nemesis   some faults, then a calm in which all must be well
//	                          history → checks (porcupine) → verdict
package main
