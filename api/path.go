package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"pushquorum/expo"
)

const (
	base64Suffix  = "@base64"
	escapedPrefix = "U__" // of a label name with escaped characters
)

// naming says which label names are valid, and whether a path escapes unusual ones.
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

// below returns what follows the prefix, and whether the path has it. Within the prefix several slashes count as one,
// because they mean nothing there: a base URL that ends with a slash was put before a path. Behind the prefix an empty
// component does mean something.
func (g groupPath) below(path string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(path, g.prefix); ok {
		return rest, true
	}
	rest = path
	for part := range strings.SplitSeq(strings.Trim(g.prefix, "/"), "/") {
		if rest, ok = strings.CutPrefix(strings.TrimLeft(rest, "/"), part+"/"); !ok {
			return "", false
		}
	}
	return rest, true
}

// labelsOf decodes the path of a request that the prefix matches.
func (g groupPath) labelsOf(u *url.URL) (expo.Labels, error) {
	if err := refuseDots(u); err != nil {
		return nil, err
	}
	return g.labels(u.Path)
}

// labels decodes a percent-decoded path that the prefix matches. A final slash after a value means nothing. After a
// label's name it stands before an empty value, as in a Pushgateway, because clients that do not escape write one so.
// The job behind the prefix wins over a label `job` later in the path; of any other repeated label the last value
// counts.
func (g groupPath) labels(path string) (expo.Labels, error) {
	rest, _ := g.below(path)
	parts := strings.Split(rest, "/")
	if last := len(parts) - 1; last%2 != 0 && parts[last] == "" {
		parts = parts[:last]
	}
	if err := refuseGaps(path, parts); err != nil {
		return nil, err
	}
	job := parts[0]
	if g.base64Job {
		decoded, err := decodeBase64(job)
		if err != nil {
			return nil, fmt.Errorf("invalid base64 encoding in job name %q: %w", shorten(job), err)
		}
		job = decoded
	}
	if job == "" {
		return nil, errNoJob(path)
	}
	labels, err := g.naming.pairLabels(parts[1:])
	if err != nil {
		return nil, err
	}
	group := expo.LabelsOf(append(labels, expo.Label{Name: "job", Value: job}))
	// Values that are not UTF-8 must never reach the store, because every later scrape would carry them.
	if err := group.Validate(g.naming.scheme); err != nil {
		return nil, err
	}
	return group, nil
}

// refuseGaps returns an error if a component of a path is empty before its end, or missing at its end. A Pushgateway
// redirects to the path without the empty one, which most clients do not follow, and which would name another group.
// parts are the job and the labels.
func refuseGaps(path string, parts []string) error {
	for i, part := range parts {
		switch {
		case part != "", i > 0 && i%2 == 0 && i == len(parts)-1:
		case i == 0:
			return errNoJob(path)
		case i%2 == 0:
			return errNoValue(path, parts[i-1])
		default:
			return fmt.Errorf("the name of a label is empty, after %q in %q: "+
				"a shell variable was probably empty, or a slash is one too many; "+
				"an empty value is written <label>%s/=", shorten(parts[i-1]), shorten(path), base64Suffix)
		}
	}
	if len(parts)%2 != 0 {
		return nil
	}
	return fmt.Errorf("odd number of components in label string %q: each label needs a name and a value; "+
		"write an empty value as <name>%s/=", shorten("/"+strings.Join(parts[1:], "/")), base64Suffix)
}

func errNoJob(path string) error {
	return fmt.Errorf("job name is required, and is empty in %q: a shell variable was probably empty; "+
		"only of other labels the value may be empty, and is then written <label>%s/=", shorten(path), base64Suffix)
}

func errNoValue(path, label string) error {
	label = shorten(strings.TrimSuffix(label, base64Suffix))
	return fmt.Errorf("the value of label %q is empty in %q: a shell variable was probably empty; "+
		"an empty value is written %s", label, shorten(path), strconv.Quote(label+base64Suffix+"/="))
}

// refuseDots returns an error if a component is a literal "." or "..", because clients and proxies resolve those, each
// differently, and so does a Pushgateway, by a redirect. A percent-encoded one is a name like any other.
func refuseDots(u *url.URL) error {
	if !strings.Contains(u.Path, "/.") {
		return nil
	}
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if part == "." || part == ".." {
			return fmt.Errorf("the component %q of the path %q stands for a directory, and clients and proxies take "+
				"it out: "+
				"write a value that is %[1]q as <label>%[3]s/%[4]s",
				part, shorten(u.Path), base64Suffix, encodeBase64(part))
		}
	}
	return nil
}

// pairLabels decodes names and values, in that order.
func (n naming) pairLabels(parts []string) ([]expo.Label, error) {
	labels := make([]expo.Label, 0, len(parts)/2+1)
	for ; len(parts) > 0; parts = parts[2:] {
		value := parts[1]
		written, isBase64 := strings.CutSuffix(parts[0], base64Suffix)
		name := model.UnescapeName(written, n.escaping)
		// An escaped name must not smuggle in a reserved one.
		if !n.scheme.IsValidLabelName(name) ||
			strings.HasPrefix(written, model.ReservedLabelPrefix) ||
			strings.HasPrefix(name, model.ReservedLabelPrefix) {
			return nil, fmt.Errorf("improper label name %q: %s", shorten(written), n.rule())
		}
		if isBase64 {
			decoded, err := decodeBase64(value)
			if err != nil {
				return nil, fmt.Errorf("invalid base64 encoding for label %s=%q: %w", shorten(written), shorten(value),
					err)
			}
			value = decoded
		}
		labels = append(labels, expo.Label{Name: name, Value: value})
	}
	return labels, nil
}

// rule says what a label name may be.
func (n naming) rule() string {
	if n.scheme == model.LegacyValidation {
		return "it must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with " + model.ReservedLabelPrefix
	}
	return "it must be UTF-8, not empty, and not begin with " + model.ReservedLabelPrefix
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

func encodeBase64(s string) string {
	if s == "" {
		return "="
	}
	return base64.RawURLEncoding.EncodeToString([]byte(s))
}

// pathOf is the inverse of groupPath.labelsOf: a path, without the route prefix, that names the group.
func (n naming) pathOf(group expo.Labels) string { return group.LinkPath(n.escape) }

func (n naming) escape(name string) string {
	if n.escaping == model.ValueEncodingEscaping && strings.HasPrefix(name, escapedPrefix) &&
		model.LegacyValidation.IsValidLabelName(name) {
		// A plain name that looks like an escaped one, which EscapeName leaves alone.
		return escapedPrefix + strings.ReplaceAll(name, "_", "__")
	}
	return model.EscapeName(name, n.escaping)
}
