// Package expo is the exposition format: it parses what is pushed, puts it into a
// canonical form that can be stored and replicated, and writes the stored families
// for a scrape. It does no I/O of its own, reads no clock and keeps no state: the same
// input gives the same bytes on every replica.
//
// The path of a push and of a scrape:
//
//	body ── Parse ──▶ []*dto.MetricFamily ── Canonical ──▶ []*Family ─▶ (log, store)
//	                                                            │
//	own metrics ── Gathered ──▶ Exposition ◀── one part per group
//	                                │
//	                              Merge ──▶ Write ──▶ Compress ──▶ response
//
// An error of Parse means that the body cannot be read at all; an error of Canonical
// means that it can be read and is refused. Nothing that Canonical has let through
// makes a later scrape fail.
//
// DESIGN.md beside this file says why it has this shape and what it costs.
package expo
