package expo

import (
	"net/http"
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
// them. OpenMetrics is never chosen.
//
// An escaping that the client names in a clause counts for the clauses after it, too, as in
// the Pushgateway 1.11: Prometheus 3 says escaping=allow-utf-8 only beside OpenMetrics and
// text 1.0.0, and must get UTF-8 names unescaped in the text 0.0.4 that it is served.
// (prometheus/common 0.70 and later forget it, and would escape them.)
func NegotiateFormat(h http.Header) expfmt.Format {
	escaping := model.NameEscapingScheme.String()
	for _, accept := range goautoneg.ParseAccept(h.Get("Accept")) {
		if scheme, err := model.ToEscapingScheme(accept.Params[model.EscapingKey]); err == nil {
			escaping = scheme.String()
		}
		switch mediaType := accept.Type + "/" + accept.SubType; {
		case mediaType == expfmt.ProtoType && accept.Params["proto"] == expfmt.ProtoProtocol:
			switch accept.Params["encoding"] {
			case "delimited":
				return withEscaping(expfmt.FmtProtoDelim, escaping)
			case "text":
				return withEscaping(expfmt.FmtProtoText, escaping)
			case "compact-text":
				return withEscaping(expfmt.FmtProtoCompact, escaping)
			}
		case mediaType == "text/plain" && (accept.Params["version"] == expfmt.TextVersion || accept.Params["version"] == ""):
			return withEscaping(expfmt.FmtText, escaping)
		}
	}
	return withEscaping(expfmt.FmtText, escaping)
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
