package expo

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// BodyFormat is how the body of a push is encoded.
type BodyFormat int

const (
	// FormatText is the text format, version 0.0.4.
	FormatText BodyFormat = iota
	// FormatProtobuf is MetricFamily messages, each after its length.
	FormatProtobuf
)

// BodyFormatOf returns the format for a Content-Type header: protobuf for exactly the
// delimited MetricFamily type, text for everything else, as the Pushgateway does.
func BodyFormatOf(contentType string) BodyFormat {
	if len(contentType) < len(expfmt.ProtoType+expfmt.ProtoProtocol+"delimited") {
		return FormatText // as of nearly all pushes, and taking it apart costs
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err == nil && mediaType == expfmt.ProtoType &&
		params["proto"] == expfmt.ProtoProtocol && params["encoding"] == "delimited" {
		return FormatProtobuf
	}
	return FormatText
}

// Parse reads a pushed body and returns its families sorted by name. r gives the body
// decompressed and limited in size; an error that r returns is wrapped, so that
// errors.As finds it. Any other error says what is wrong with the body; Diagnose says it better.
//
// The names in a text are checked under s, which must not be unset; those in protobuf
// are checked by Canonical.
func Parse(r io.Reader, f BodyFormat, s model.ValidationScheme) ([]*dto.MetricFamily, error) {
	var (
		byName map[string]*dto.MetricFamily
		err    error
	)
	if f == FormatProtobuf {
		byName, err = parseProtobuf(r)
	} else {
		byName, err = parseText(r, s)
	}
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *dto.MetricFamily) int {
		return cmp.Compare(a.GetName(), b.GetName())
	}), nil
}

// parseProtobuf reads the whole body before it decodes: a length that the body
// announces can then be compared with what is there, and never allocates by itself.
func parseProtobuf(r io.Reader) (map[string]*dto.MetricFamily, error) {
	body, err := readAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	byName := map[string]*dto.MetricFamily{}
	options := proto.UnmarshalOptions{DiscardUnknown: true}
	for i := 1; len(body) > 0; i++ {
		message, n := protowire.ConsumeBytes(body)
		if n < 0 {
			return nil, fmt.Errorf(
				"protobuf message %d is cut off or has a bad length: "+
					"send each message whole, after its length as a varint (%s)",
				i, oneLine(protowire.ParseError(n).Error()),
			)
		}
		mf := &dto.MetricFamily{}
		if err := options.Unmarshal(message, mf); err != nil {
			return nil, fmt.Errorf(
				"protobuf message %d is not a MetricFamily: send io.prometheus.client.MetricFamily messages (%s)", i,
				oneLine(err.Error()),
			)
		}
		byName[mf.GetName()] = mf // The later of two wins, as in the Pushgateway.
		body = body[n:]
	}
	return byName, nil
}

// readAll reads what r has, into memory of that size if r knows how much that is.
func readAll(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	if sized, ok := r.(interface{ Len() int }); ok {
		b.Grow(sized.Len() + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// parseText reads the text format, whose last line may have no newline: that a body is whole is known before it is
// read.
func parseText(r io.Reader, s model.ValidationScheme) (byName map[string]*dto.MetricFamily, err error) {
	guard := &textGuard{r: io.MultiReader(r, strings.NewReader("\n"))}
	in := bufio.NewReader(guard)
	// Some texts make expfmt's parser write to a nil map, such as a histogram sample
	// with its name in braces right after a sample of another type. Such a body is as
	// malformed as any other; the parser is used for one body only, so that nothing
	// half-done is left behind.
	defer func() {
		if p := recover(); p != nil {
			// The parser reads from in itself, so what is left there is what it has not seen.
			ahead, _ := in.Peek(in.Buffered())
			line := guard.line + 1 - bytes.Count(ahead, newline)
			byName, err = nil, expfmt.ParseError{Line: line, Msg: parserFault + oneLine(fmt.Sprint(p))}
		}
	}()
	parser := expfmt.NewTextParser(s)
	byName, err = parser.TextToMetricFamilies(in)
	// The parser takes an error that is an io.EOF in disguise for the end of the body,
	// and may report a line that was cut by the error instead of the error.
	if guard.bad != nil {
		return nil, guard.bad
	}
	if guard.err != nil {
		return nil, fmt.Errorf("reading the body: %w", guard.err)
	}
	if err != nil {
		var parseError expfmt.ParseError
		if errors.As(err, &parseError) {
			parseError.Msg = oneLine(parseError.Msg)
			return nil, parseError
		}
		return nil, errors.New(oneLine(err.Error()))
	}
	return byName, nil
}

// parserFault begins the message of a text at which expfmt's parser panics.
const parserFault = "the parser fails: "
