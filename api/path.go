package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/common/model"

	"pushquorum/expo"
)

const (
	base64Suffix  = "@base64"
	escapedPrefix = "U__" // of a label name with escaped characters
)

// naming says which label names are valid, and whether a path spells unusual ones with escapes.
type naming struct {
	scheme   model.ValidationScheme
	escaping model.EscapingScheme
}

// groupPath reads the grouping labels from request paths below prefix, which ends with "/job/" or "/job@base64/".
type groupPath struct {
	prefix    string
	base64Job bool
	naming    naming
}

// labels decodes a cleaned and percent-decoded path, which begins with the prefix. The job in the prefix's place wins over a
// label `job` later in the path; of any other repeated label the last value counts.
func (g groupPath) labels(path string) (expo.Labels, error) {
	job, rest := path[len(g.prefix):], ""
	if i := strings.IndexByte(job, '/'); i >= 0 {
		job, rest = job[:i], job[i:]
	}
	if g.base64Job {
		decoded, err := decodeBase64(job)
		if err != nil {
			return nil, fmt.Errorf("invalid base64 encoding in job name %q: %w", shorten(job), err)
		}
		job = decoded
	}
	labels, err := g.naming.splitLabels(rest)
	if err != nil {
		return nil, err
	}
	if job == "" {
		return nil, errors.New("job name is required")
	}
	group := expo.LabelsOf(append(labels, expo.Label{Name: "job", Value: job}))
	// Above all, values that are not UTF-8 must never reach the store: every later scrape would carry them.
	if err := group.Validate(g.naming.scheme); err != nil {
		return nil, err
	}
	return group, nil
}

// splitLabels decodes "/name/value/name/value", in that order; "" and "/" are no labels.
func (n naming) splitLabels(s string) ([]expo.Label, error) {
	if len(s) <= 1 {
		return nil, nil
	}
	parts := strings.Split(s[1:], "/")
	labels := make([]expo.Label, 0, len(parts)/2+1)
	if len(parts)%2 != 0 {
		return nil, fmt.Errorf("odd number of components in label string %q: each label needs a name and a value; write an empty value as <name>@base64/=", shorten(s))
	}
	for ; len(parts) > 0; parts = parts[2:] {
		value := parts[1]
		written, isBase64 := strings.CutSuffix(parts[0], base64Suffix)
		name := model.UnescapeName(written, n.escaping)
		// An escaped name must not smuggle in a reserved one.
		if !n.scheme.IsValidLabelName(name) || strings.HasPrefix(written, model.ReservedLabelPrefix) || strings.HasPrefix(name, model.ReservedLabelPrefix) {
			return nil, fmt.Errorf("improper label name %q", shorten(written))
		}
		if isBase64 {
			decoded, err := decodeBase64(value)
			if err != nil {
				return nil, fmt.Errorf("invalid base64 encoding for label %s=%q: %w", shorten(written), shorten(value), err)
			}
			value = decoded
		}
		labels = append(labels, expo.Label{Name: name, Value: value})
	}
	return labels, nil
}

// decodeBase64 decodes the URL-safe alphabet of RFC 4648, with or without padding. "=" stands for the empty string.
func decodeBase64(s string) (string, error) {
	unpadded := strings.TrimRight(s, "=")
	b, err := base64.RawURLEncoding.DecodeString(unpadded)
	if err != nil {
		return "", errors.New(base64Fault(unpadded))
	}
	return string(b), nil
}

// base64Fault says what is wrong with a value, without padding, that is not base64.
func base64Fault(s string) string {
	urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(s)
	if _, err := base64.RawURLEncoding.DecodeString(urlSafe); err == nil {
		return fmt.Sprintf("a path takes the URL-safe alphabet, with - for + and _ for /: write %s", shorten(urlSafe))
	}
	for i, r := range urlSafe {
		switch {
		case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
		case r == '\n', r == '\r': // which decoders skip
		case r == '=':
			return fmt.Sprintf("its padding, =, is followed by something else after %d characters", i)
		default:
			return fmt.Sprintf("%q is not in the URL-safe alphabet (A-Z, a-z, 0-9, - and _); "+
				"write a value as it is without %s", r, base64Suffix)
		}
	}
	return fmt.Sprintf("it has %d characters, which make no whole number of bytes: it is cut off, or is not base64; "+
		"write a value as it is without %s", len(s), base64Suffix)
}

// pathOf is the inverse of groupPath.labels: a path, without the route prefix, that names the group whatever its labels hold.
func (n naming) pathOf(group expo.Labels) string {
	job, _ := group.Get("job")
	var b strings.Builder
	b.WriteString("/metrics/job" + base64Suffix + "/" + encodeBase64(job))
	for _, l := range group {
		if l.Name != "job" {
			b.WriteString("/" + n.escape(l.Name) + base64Suffix + "/" + encodeBase64(l.Value))
		}
	}
	return b.String()
}

func encodeBase64(s string) string {
	if s == "" {
		return "="
	}
	return base64.RawURLEncoding.EncodeToString([]byte(s))
}

func (n naming) escape(name string) string {
	if n.escaping == model.ValueEncodingEscaping && strings.HasPrefix(name, escapedPrefix) && model.LegacyValidation.IsValidLabelName(name) {
		// A plain name that looks like an escaped one, which EscapeName leaves alone.
		return escapedPrefix + strings.ReplaceAll(name, "_", "__")
	}
	return model.EscapeName(name, n.escaping)
}
