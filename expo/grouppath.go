package expo

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/prometheus/common/model"
)

// Path returns the path, below a gateway's address and route prefix, to which the group of these labels is pushed and
// by which it is deleted, as a person would write it: a value is in base64 only if it cannot be written otherwise.
func (ls Labels) Path() string {
	return ls.PathWith(func(name string) string { return model.EscapeName(name, model.ValueEncodingEscaping) })
}

// PathWith is Path for a gateway that decodes what escapeName makes of a label's name.
func (ls Labels) PathWith(escapeName func(string) string) string {
	var b strings.Builder
	b.WriteString("/metrics")
	job, _ := ls.Get(model.JobLabel)
	writePathLabel(&b, model.JobLabel, job)
	for _, l := range ls {
		if l.Name != model.JobLabel {
			writePathLabel(&b, escapeName(l.Name), l.Value)
		}
	}
	return b.String()
}

func writePathLabel(b *strings.Builder, name, value string) {
	b.WriteString("/" + name)
	switch {
	case value == "":
		b.WriteString("@base64/=")
	case value == "." || value == ".." || strings.Contains(value, "/"): // what would change the path
		b.WriteString("@base64/" + base64.RawURLEncoding.EncodeToString([]byte(value)))
	default:
		b.WriteString("/" + url.PathEscape(value))
	}
}
