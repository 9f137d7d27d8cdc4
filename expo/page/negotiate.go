package page

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/munnerz/goautoneg"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The encodings that NegotiateEncoding returns and Compress takes.
const (
	Identity = "identity"
	Gzip     = "gzip"
	Zstd     = "zstd"
)

// NegotiateFormat returns the format for a request's Accept header: the first of the
// protobuf formats and the text format that the client prefers, text if it wants none of
// them, and how names are escaped in it. OpenMetrics is never chosen.
func NegotiateFormat(h http.Header) expfmt.Format {
	clauses := goautoneg.ParseAccept(h.Get("Accept"))
	for i, clause := range clauses {
		if format, ok := formatOf(clause); ok {
			return withEscaping(format, escapingFor(clauses, i))
		}
	}
	return withEscaping(expfmt.FmtText, escapingFor(clauses, len(clauses)))
}

// formatOf returns the format that a clause asks for, if there is one.
func formatOf(clause goautoneg.Accept) (expfmt.Format, bool) {
	switch mediaType := clause.Type + "/" + clause.SubType; {
	case mediaType == expfmt.ProtoType && clause.Params["proto"] == expfmt.ProtoProtocol:
		switch clause.Params["encoding"] {
		case "delimited":
			return expfmt.FmtProtoDelim, true
		case "text":
			return expfmt.FmtProtoText, true
		case "compact-text":
			return expfmt.FmtProtoCompact, true
		}
	case mediaType == "text/plain" &&
		(clause.Params["version"] == expfmt.TextVersion || clause.Params["version"] == ""):
		return expfmt.FmtText, true
	}
	return "", false
}

// escapingFor returns how names are escaped for a client that gets the format of a clause; past the last clause, that
// of none. What the clause itself says counts most. Else a client that says allow-utf-8 anywhere can read such names,
// whatever the format: Prometheus 3 says it beside OpenMetrics and text 1.0.0 alone, and a series must have one name in
// all its scrape jobs, whether they ask for protobuf or not. Else the clauses before count, the nearest first, as in
// the Pushgateway 1.11, and at last those after.
func escapingFor(clauses []goautoneg.Accept, chosen int) string {
	if chosen < len(clauses) {
		if scheme, ok := escapingOf(clauses[chosen]); ok {
			return scheme
		}
	}
	said, legacy := "", slices.ContainsFunc(clauses, isLegacyOpenMetrics)
	for i, clause := range clauses {
		switch scheme, ok := escapingOf(clause); {
		case !ok || legacy && clause.Type == "text" && clause.Params["version"] == "1.0.0":
		case scheme == model.AllowUTF8:
			return scheme
		case i < chosen || said == "":
			said = scheme
		}
	}
	return cmp.Or(said, model.NameEscapingScheme.String())
}

// isLegacyOpenMetrics tells whether a clause is that of a Prometheus that wants no UTF-8 names. Those before 3.3 say
// allow-utf-8 beside text 1.0.0 nevertheless, and fail the whole scrape over the first such name that they get.
func isLegacyOpenMetrics(clause goautoneg.Accept) bool {
	_, escaped := escapingOf(clause)
	return clause.Type == "application" && clause.SubType == "openmetrics-text" &&
		clause.Params["version"] == "1.0.0" && !escaped
}

// escapingOf returns the escaping that a clause names, if it is known.
func escapingOf(clause goautoneg.Accept) (string, bool) {
	scheme, err := model.ToEscapingScheme(clause.Params[model.EscapingKey])
	return scheme.String(), err == nil
}

func withEscaping(f expfmt.Format, escaping string) expfmt.Format {
	return f + "; " + model.EscapingKey + "=" + expfmt.Format(escaping)
}

// NegotiateEncoding returns the encoding for a request's Accept-Encoding header: of
// identity, gzip and zstd the one with the highest quality, the first of these where two are
// equal. Without a usable header, and where the client refuses all of them, it is identity.
// These are promhttp's rules.
func NegotiateEncoding(h http.Header) string {
	best, bestQuality := Identity, -1.0
	accepted := parseAcceptEncoding(h.Values("Accept-Encoding"))
	for _, offer := range []string{Identity, Gzip, Zstd} {
		for _, a := range accepted {
			if (a.coding == offer || a.coding == "*") && a.quality > bestQuality {
				best, bestQuality = offer, a.quality
			}
		}
	}
	if bestQuality == 0 {
		return Identity
	}
	return best
}

type acceptedCoding struct {
	coding  string
	quality float64
}

// parseAcceptEncoding reads the values of the header; one that is malformed counts up to
// the fault.
func parseAcceptEncoding(values []string) []acceptedCoding {
	var accepted []acceptedCoding
	for _, value := range values {
		for clause := range strings.SplitSeq(value, ",") {
			coding, params, hasParams := strings.Cut(clause, ";")
			a := acceptedCoding{coding: strings.TrimSpace(coding), quality: 1}
			if a.coding == "" {
				break
			}
			rest := ""
			if hasParams {
				q, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
				if !ok {
					break
				}
				if a.quality, rest, ok = quality(q); !ok {
					break
				}
			}
			accepted = append(accepted, a)
			if strings.TrimSpace(rest) != "" {
				break
			}
		}
	}
	return accepted
}

// quality reads a number that begins with 0 or 1, and returns what comes after it.
func quality(s string) (q float64, rest string, ok bool) {
	if s == "" || s[0] != '0' && s[0] != '1' {
		return 0, s, false
	}
	end := 1
	if strings.HasPrefix(s[1:], ".") {
		for end = 2; end < len(s) && '0' <= s[end] && s[end] <= '9'; {
			end++
		}
	}
	q, err := strconv.ParseFloat(s[:end], 64)
	return q, s[end:], err == nil
}
