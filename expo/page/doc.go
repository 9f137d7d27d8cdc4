// Package page writes what a scrape is answered: an expo.Exposition in the format, with the names and in the encoding
// that the scraper asks for. A Page of one exposition is made at the cost of what has changed since the page before.
//
//	own metrics ── Gathered ──┐
//	                          ├─ Merge ──▶ New(…).Next ──▶ Page ── WriteTo ──▶ response
//	stored      ── Exposition ┘        └─▶ Stream, which keeps nothing ──────▶ response
//
// Only api imports it: nothing that a replica applies depends on how a page is cut, compressed or paced. Making a page
// reads the clock, to rest while others are busy, and it takes memory from pools; the bytes depend on neither.
//
// DESIGN.md beside this file says why it has this shape and what it costs.
package page
