package expo

// Estimate returns how much memory Parse and Canonical, and the encoding of the push for the log, allocate for a body,
// in bytes: many times the body. Garbage counts, because it stays until the next collection and costs the processor's
// time. The estimate is an upper bound, found in one pass that allocates nothing. Counting stops above most; what has
// been counted until then is returned.
func Estimate(body []byte, f BodyFormat, group Labels, most int64) int64 {
	if f == FormatProtobuf {
		return estimateProtobuf(body, group, most)
	}
	var n textCount
	n.count(body, group, most)
	return n.parsed(group)
}

// EstimatePlain is the same for what Plain allocates when there is no memory of an earlier push to take over.
func EstimatePlain(body []byte, group Labels, most int64) int64 {
	n := countPlain(body, group, most)
	return n.plain(group)
}

// appended is how many times its final size a slice allocates in all that grows by append to any length: each time by
// a quarter at least, and up to a quarter more than it needs.
const appended = 25.0 / 4

// pointer is what a pointer takes in a slice that grows.
const pointer = int64(8 * appended)

// fixed is what is allocated whatever there is in a body: buffers, maps, and slices that begin with some elements.
const fixed = 16 << 10

// encoded is about how much the labels of a group, and an instance, take in each encoded metric.
func (ls Labels) encoded() int64 {
	const instance = len("instance") + labelMarks + 2
	return int64(ls.textSize() + 8*len(ls) + instance)
}
