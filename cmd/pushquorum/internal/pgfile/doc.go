// Package pgfile brings a Pushgateway's persistence file into an empty store, once: [Read] decodes the file, and
// [Import] is a replica that answers nobody before the file's groups are in the store.
//
// It knows the state machine and no consensus, no HTTP and no flags: what it needs of a replica it declares itself.
package pgfile
