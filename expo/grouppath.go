package expo

import (
	"encoding/base64"
	"net/url"
	"strings"
	"unicode"

	"github.com/prometheus/common/model"
)

// Path returns the path, below a gateway's address and route prefix, to which the group of these labels is pushed and
// by which it is deleted, as a person would write it: a value is in base64 only if it cannot be written otherwise.
func (ls Labels) Path() string {
	escape := func(name string) string { return model.EscapeName(name, model.ValueEncodingEscaping) }
	return ls.path(escape, changesPath)
}

// LinkPath is Path for a gateway that decodes what escapeName makes of a label's name, and for programs: a value is in
// base64 also where that is shorter, and where a proxy may refuse what it holds.
func (ls Labels) LinkPath(escapeName func(string) string) string {
	return ls.path(escapeName, func(value string) bool {
		return changesPath(value) || strings.ContainsFunc(value, unicode.IsControl) ||
			len(url.PathEscape(value)) > base64.RawURLEncoding.EncodedLen(len(value))+len(base64Suffix)
	})
}

func (ls Labels) path(escapeName func(string) string, inBase64 func(value string) bool) string {
	var b strings.Builder
	b.WriteString("/metrics")
	job, _ := ls.Get(model.JobLabel)
	writePathLabel(&b, model.JobLabel, job, inBase64)
	for _, l := range ls {
		if l.Name != model.JobLabel {
			writePathLabel(&b, escapeName(l.Name), l.Value, inBase64)
		}
	}
	return b.String()
}

const base64Suffix = "@base64"

// changesPath tells whether a value would be more than one component of a path, or less.
func changesPath(value string) bool {
	return value == "." || value == ".." || strings.Contains(value, "/")
}

func writePathLabel(b *strings.Builder, name, value string, inBase64 func(string) bool) {
	b.WriteString("/" + name)
	switch {
	case value == "":
		b.WriteString(base64Suffix + "/=")
	case inBase64(value):
		b.WriteString(base64Suffix + "/" + base64.RawURLEncoding.EncodeToString([]byte(value)))
	default:
		b.WriteString("/" + url.PathEscape(value))
	}
}
