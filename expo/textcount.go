package expo

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// textCount is what there is at most in a text body, or in its beginning.
type textCount struct {
	bytes    int64 // of all lines
	longest  int64 // bytes of a line
	foreign  int64 // the same, of lines with what is no text
	samples  int64 // lines that are neither blank nor comments
	comments int64 // the others
	names    int64 // how often a line has another name than the one before
	labels   int64 // of all samples
	crowded  int64 // the sum of the squares of the labels of each sample that has many, without those of the first few
	composed int64 // samples that may be those of a histogram or a summary
	exact    bool  // for Plain, and line by line
}

// What the parser of a text and Canonical allocate, in bytes, measured and rounded up: TestEstimate… compares.
const (
	perName     = 900 // the family, its entries in maps, its header
	perSample   = 600 // the metric as parsed and as stored, its value, an empty instance
	perComposed = 900 // the labels' map, the histogram or summary, the bucket or quantile, entries in maps
	perLabel    = 200 // the pair as parsed, its places in slices
	// perCrowded is times the square of the labels: for each label, the parser makes a map of those before. A map of
	// fewLabels takes no memory of its own.
	perCrowded = 48
	fewLabels  = 8
	perForeign = 40         // the same where each byte becomes four, and a slice grows by them
	perByte    = 6          // copies of names, values and texts
	perLongest = 2          // copies of the line that is refused, in what is wrong with it
	perComment = 48         //
	perEncoded = 2          // the stored form, and the command that it is copied into
	bucketSize = 1 + 4 + 24 // of an encoded metric without labels: of a bucket, at most
)

// parsed is what Parse and Canonical allocate, and the encoded command.
func (n *textCount) parsed(group Labels) int64 {
	perMetric := int64(8*len(group)) + perEncoded*(group.encoded()+bucketSize)
	return fixed + int64(len(group))*perLabel + n.names*perName + n.samples*(perSample+perMetric) +
		n.composed*perComposed +
		n.labels*perLabel + n.crowded*perCrowded + n.bytes*perByte + n.longest*perLongest +
		n.foreign*perForeign + n.comments*perComment
}

// plain is what Plain allocates, and the encoded command. Where the count is exact, room is made for all at once.
func (n *textCount) plain(group Labels) int64 {
	slices := n.samples*perPlainSample + n.plainLabels(group)*perPlainLabel + n.encoded(group)
	if n.exact {
		slices += slices / 8 // memory comes in certain sizes
	} else {
		slices = int64(float64(slices) * appended)
	}
	return fixed + n.names*perPlainName + slices + n.encoded(group)
}

const (
	perPlainName   = 640         // a plainHead and a Family, in slices that grow
	perPlainSample = 24 + 16 + 8 // a plainSample, a SeriesID, its place in the order
	perPlainLabel  = 32          // a Label
)

// plainLabels is how many labels all samples have at most, with those of the group and an instance.
func (n *textCount) plainLabels(group Labels) int64 {
	return n.labels + n.samples*int64(len(group)+1) + maxPlainLabels
}

// encoded is at least what the samples take in stored form.
func (n *textCount) encoded(group Labels) int64 {
	short := n.bytes + n.samples*(group.encoded()+bucketSize) + 8*n.labels
	return short + short/32 // lengths of more than a byte
}

// countPlain counts what Plain has to make room for: roughly, if that is little, because most bodies are small and an
// exact count takes longer.
func countPlain(body []byte, group Labels, most int64) textCount {
	lines := int64(bytes.Count(body, newline)) + 1
	n := textCount{bytes: int64(len(body)), samples: lines, names: lines, labels: int64(bytes.Count(body, equals))}
	if n.plain(group) > roughly {
		n = textCount{exact: true}
		n.count(body, group, most)
	}
	return n
}

// roughly is up to where an estimate may be several times too high.
const roughly = 1 << 20 // bytes

var newline, equals, comma = []byte{'\n'}, []byte{'='}, []byte{','}

// takes is what Plain allocates, or else the parser and Canonical.
func (n *textCount) takes(group Labels) int64 {
	if n.exact {
		return n.plain(group)
	}
	return n.parsed(group)
}

// count adds what there is in body. It stops when that takes more than most, at which it looks now and then.
func (n *textCount) count(body []byte, group Labels, most int64) {
	const often = 256 // lines
	var name []byte
	composed := false
	for i := 1; len(body) > 0; i++ {
		line := body
		if end := bytes.IndexByte(body, '\n'); end >= 0 {
			line, body = body[:end], body[end+1:]
		} else {
			body = nil
		}
		n.bytes += int64(len(line)) + 1
		n.longest = max(n.longest, int64(len(line)))
		if int64(len(line)) > n.foreign && isForeign(line) {
			n.foreign = int64(len(line))
		}
		if i%often == 0 && n.takes(group) > most {
			return
		}
		line = bytes.TrimLeft(line, " \t")
		if len(line) == 0 {
			n.comments++
			continue
		}
		if line[0] == '#' {
			n.comments++
			var isType bool
			if line, isType = commented(line); line == nil {
				continue
			}
			composed = composed || isType && !plainType(line)
		} else {
			n.sample(line, composed)
		}
		if !bytes.HasPrefix(line, name) || len(line) > len(name) && !endsName(line[len(name)]) || len(name) == 0 {
			n.names++
			name = line[:nameEnd(line)]
		}
	}
}

// isForeign tells whether a long line has bytes that a message shows as escapes.
func isForeign(line []byte) bool {
	const long = 4 << 10
	return len(line) > long && (!utf8.Valid(line) || bytes.ContainsFunc(line, unicode.IsControl))
}

// sample counts a line that is not a comment.
func (n *textCount) sample(line []byte, composed bool) {
	n.samples++
	if composed {
		n.composed++
	}
	labels := int64(bytes.Count(line, equals))
	if labels == 0 {
		return
	}
	// An equals sign in a value is not a label, if there are not as many commas. The guard of the parser lets no line
	// with more labels pass.
	labels = min(labels, int64(bytes.Count(line, comma))+1, MaxLabels+2)
	n.labels += labels
	if labels > fewLabels {
		n.crowded += labels*labels - fewLabels*fewLabels
	}
}

// commented returns what follows HELP or TYPE in a comment, nil if it is another one.
func commented(line []byte) (rest []byte, isType bool) {
	line = bytes.TrimLeft(line[1:], " \t")
	rest, isType = bytes.CutPrefix(line, []byte("TYPE"))
	if !isType {
		var isHelp bool
		if rest, isHelp = bytes.CutPrefix(line, []byte("HELP")); !isHelp {
			return nil, false
		}
	}
	if rest = bytes.TrimLeft(rest, " \t"); len(rest) == 0 {
		return nil, false
	}
	return rest, isType
}

// plainType tells whether a TYPE line is surely that of a family whose samples are single numbers.
func plainType(line []byte) bool {
	for _, t := range [][]byte{[]byte("counter"), []byte("gauge"), []byte("untyped")} {
		if bytes.HasSuffix(line, t) {
			return true
		}
	}
	return false
}

func endsName(c byte) bool { return c == ' ' || c == '\t' || c == '{' || c == ',' || c == '}' }

func nameEnd(line []byte) int {
	for i, c := range line {
		if endsName(c) && i > 0 {
			return i
		}
	}
	return len(line)
}
