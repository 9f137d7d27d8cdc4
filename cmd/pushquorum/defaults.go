package main

import "pushquorum/api"

// bytesInFlightFor is the default of --push.max-bytes-in-flight for so many bytes of memory, 0 if they are not known:
// an eighth, because what is stored and its pages need most of the rest, and what has been given back stays until the
// next collection.
func bytesInFlightFor(memory int64) int64 {
	const least, most = 8 << 20, 1 << 30
	if memory <= 0 {
		return api.DefaultMaxInFlight
	}
	return max(least, min(most, memory/8))
}

// connectionsFor is the default of --web.max-connections: half of the descriptors, which leaves the others to the
// log, its snapshots and the peers, and as many as have room for their headers in a quarter of the memory. Of what is
// not known, 0, there is enough.
func connectionsFor(descriptors, memory int64) int {
	const least, most = 16, 4096
	n := int64(most)
	if descriptors > 0 {
		n = min(n, descriptors/2)
	}
	if memory > 0 {
		n = min(n, memory/4/maxHeaderBytes)
	}
	return int(max(least, n))
}
