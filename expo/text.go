package expo

import (
	"bytes"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// AppendLines appends the family's samples in the text format, without HELP and TYPE, and with names as they are
// stored. An error wraps ErrDamaged; then nothing was appended.
func (f *Family) AppendLines(b []byte) ([]byte, error) {
	if lines, ok := f.appendPlainLines(b); ok {
		return lines, nil
	}
	mf, err := f.Decode()
	if err != nil {
		return b, err
	}
	lines, err := SampleLines(mf)
	return append(b, lines...), err
}

// SampleLines returns what expfmt writes for mf, without HELP and TYPE.
func SampleLines(mf *dto.MetricFamily) ([]byte, error) {
	if len(mf.Metric) == 0 {
		return nil, nil
	}
	help := mf.Help
	mf.Help = nil
	defer func() { mf.Help = help }()
	var b bytes.Buffer
	if _, err := expfmt.MetricFamilyToText(&b, mf); err != nil {
		return nil, fmt.Errorf("writing family %s: %w: %s", Quote(mf.GetName()), ErrDamaged, oneLine(err.Error()))
	}
	// Without a help, the first line is TYPE, and names are written without line breaks.
	_, lines, _ := bytes.Cut(b.Bytes(), []byte{'\n'})
	return lines, nil
}

// AppendHeader appends the HELP line, unless the help is empty, and the TYPE line.
func AppendHeader(b []byte, h Header) []byte {
	if h.Help != "" {
		b = append(b, "# HELP "...)
		b = appendName(b, h.Name)
		b = append(b, ' ')
		b = appendEscaped(b, h.Help, false)
		b = append(b, '\n')
	}
	b = append(b, "# TYPE "...)
	b = appendName(b, h.Name)
	b = append(b, ' ')
	b = append(b, textType(h.Type)...)
	return append(b, '\n')
}

// appendName appends a metric's name, in quotes if it needs them.
func appendName(b []byte, name string) []byte {
	if model.LegacyValidation.IsValidMetricName(name) {
		return append(b, name...)
	}
	b = append(b, '"')
	b = appendEscaped(b, name, true)
	return append(b, '"')
}

func appendEscaped(b []byte, s string, quoted bool) []byte {
	special := "\\\n"
	if quoted {
		special = "\\\n\""
	}
	for {
		i := strings.IndexAny(s, special)
		if i < 0 {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		if s[i] == '\n' {
			b = append(b, '\\', 'n')
		} else {
			b = append(b, '\\', s[i])
		}
		s = s[i+1:]
	}
}

// textType returns the type as the text format calls it, which has no gauge histograms.
func textType(t dto.MetricType) string {
	switch t {
	case dto.MetricType_COUNTER:
		return "counter"
	case dto.MetricType_GAUGE:
		return "gauge"
	case dto.MetricType_SUMMARY:
		return "summary"
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return "histogram"
	default:
		return "untyped"
	}
}
