// Package expo is the exposition format, as far as replicas must agree on it: it parses what is pushed, puts it into a
// canonical form that is stored and replicated, and encodes a stored family. It does no I/O of its own, reads no clock,
// and has no random source: the same input gives the same bytes on every replica, which the state machine depends on.
// What it keeps between calls is memory for the next one.
//
// The path of a push:
//
//	body ── Tidy ──▶ Parse ──▶ []*dto.MetricFamily ── Canonical ──▶ []*Family ──▶ log, store
//	            └──▶ Plain, for most texts, in one pass ───────────▶
//
// An error of Parse means that the body cannot be read at all; an error of Canonical means that it can be read and is
// refused. Nothing that Canonical has let through makes a later scrape fail.
//
// A scrape is an Exposition of stored families; package page, below this one, writes it.
//
// DESIGN.md beside this file says why it has this shape and what it costs.
package expo
