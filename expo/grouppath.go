package expo

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/prometheus/common/model"
)

// Path returns the path, below a gateway's address and route prefix, to which the group of these labels is pushed and by
// which it is deleted, as a person would write it: a value is in base64 only if it cannot be written otherwise.
func (ls Labels) Path() string {
	var b strings.Builder
	b.WriteString("/metrics")
	job, _ := ls.Get(model.JobLabel)
	writePathLabel(&b, Label{Name: model.JobLabel, Value: job})
	for _, l := range ls {
		if l.Name != model.JobLabel {
			writePathLabel(&b, l)
		}
	}
	return b.String()
}

func writePathLabel(b *strings.Builder, l Label) {
	b.WriteString("/" + model.EscapeName(l.Name, model.ValueEncodingEscaping))
	switch {
	case l.Value == "":
		b.WriteString("@base64/=")
	case l.Value == "." || l.Value == ".." || strings.Contains(l.Value, "/"): // what would change the path
		b.WriteString("@base64/" + base64.RawURLEncoding.EncodeToString([]byte(l.Value)))
	default:
		b.WriteString("/" + url.PathEscape(l.Value))
	}
}
