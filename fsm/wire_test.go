package fsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/fsm/fsmpb"
)

// Commands are written and read by hand; the generated code says what they must look like.
func TestCommandsAreWrittenAsTheGeneratedCodeWritesThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var in interner
	for i := range 500 {
		c := randomCommand(rng, t)
		got := c.encode(Request{ID: NewRequestID(), Seen: rng.Uint64N(1 << 40)})
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(messageOf(c))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("command %d, operation %d, is\n%x\nand in the generated code\n%x", i, c.op, got, want)
		}
		if cap(got) > len(got)+len(got)/4+64 {
			t.Errorf("command %d of %d bytes has room for %d: its size was not known", i, len(got), cap(got))
		}
		// With fields that only a later version knows.
		back, err := decodeCommand(append(got, 0xf8, 0x01, 0x01), &in)
		if err != nil || back.malformed != nil {
			t.Fatalf("reading command %d: %v, %v", i, err, back.malformed)
		}
		if again := back.append(nil); !bytes.Equal(again, got) {
			t.Fatalf("command %d, operation %d, is\n%x\nand read and written again\n%x", i, c.op, got, again)
		}
		if back.hash() != c.fingerprint {
			t.Errorf("command %d has another fingerprint once it was read", i)
		}
	}
}

func TestGroupsAreWrittenAsTheGeneratedCodeWritesThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var in interner
	for i := range 200 {
		g := randomGroup(rng, t)
		got := appendGroup(nil, recordGroup, g)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(
			&fsmpb.Record{Kind: &fsmpb.Record_Group{Group: groupMessage(g)}})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("group %d is\n%x\nand in the generated code\n%x", i, got, want)
		}
		var r fsmpb.Record
		if err := proto.Unmarshal(got, &r); err != nil {
			t.Fatal(err)
		}
		body, err := proto.Marshal(r.GetGroup())
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeGroup(body, &in)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, g) {
			t.Fatalf("group %d is read as %+v, was %+v", i, back, g)
		}
	}
}

func TestRequestsAreWrittenAsTheGeneratedCodeWritesThem(t *testing.T) {
	for i, r := range []request{
		{id: NewRequestID(), index: 7, fingerprint: 1 << 60, result: Result{Status: Rejected, Reason: "because"}},
		{id: NewRequestID()},
	} {
		got := appendRequest(nil, recordRequest, &r)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(
			&fsmpb.Record{Kind: &fsmpb.Record_Request{Request: &fsmpb.Request{
				Id: r.id[:], Index: r.index, Fingerprint: r.fingerprint, Status: uint32(r.result.Status),
				Reason: r.result.Reason,
			}}})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("request %d is\n%x\nand in the generated code\n%x (%v)", i, got, want, err)
		}
		body, _ := protowire.ConsumeBytes(got[tagSize:])
		if back, err := decodeRequest(body); err != nil || back != r {
			t.Errorf("request %d is read as %+v (%v), was %+v", i, back, err, r)
		}
	}
}

func TestTheOtherRecordsAreWrittenAsTheGeneratedCodeWritesThem(t *testing.T) {
	type row struct {
		got  []byte
		want *fsmpb.Record
	}
	var rows []row
	for _, h := range []snapshotHeader{{}, {applied: 1 << 40, written: true, forgotten: 300}, {forgotten: 1}} {
		rows = append(rows, row{h.append(nil), &fsmpb.Record{Kind: &fsmpb.Record_Header{Header: &fsmpb.SnapshotHeader{
			Applied: h.applied, Written: h.written, Forgotten: h.forgotten,
		}}}})
	}
	long := strings.Repeat("ü", 100)
	for _, h := range []expo.Header{{Name: "a"}, {Name: "a", Help: long, Type: 1}, {Name: long, Help: "h", Unit: "u"}} {
		rows = append(
			rows, row{appendFamilyHeader(nil, &h), &fsmpb.Record{Kind: &fsmpb.Record_Family{Family: &fsmpb.FamilyHeader{
				Name: h.Name, Help: h.Help, Unit: h.Unit,
			}}}})
	}
	for _, trailer := range []snapshotTrailer{{}, {records: 1 << 20}, {records: 2, hash: digest{1, 2}.bytes()}} {
		rows = append(
			rows, row{trailer.append(nil), &fsmpb.Record{Kind: &fsmpb.Record_Trailer{Trailer: &fsmpb.SnapshotTrailer{
				Records: trailer.records, Hash: trailer.hash,
			}}}})
	}
	for i, r := range rows {
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.want)
		if err != nil || !bytes.Equal(r.got, want) {
			t.Errorf("record %d is\n%x\nand in the generated code\n%x (%v)", i, r.got, want, err)
		}
		// With fields that only a later version knows, around it and in it.
		kind, body, err := decodeRecord(append(r.got, 0xf8, 0x01, 0x01))
		if err != nil {
			t.Fatal(err)
		}
		body = append(slices.Clone(body), 0xf8, 0x01, 0x01)
		var again []byte
		switch kind {
		case recordHeader:
			h, err := decodeSnapshotHeader(body)
			if again = h.append(nil); err != nil {
				t.Error(err)
			}
		case recordFamily:
			h, err := decodeFamilyHeader(body)
			if again = appendFamilyHeader(nil, &h); err != nil {
				t.Error(err)
			}
		case recordTrailer:
			trailer, err := decodeSnapshotTrailer(body)
			if again = trailer.append(nil); err != nil {
				t.Error(err)
			}
		}
		if !bytes.Equal(again, want) {
			t.Errorf("record %d is\n%x\nand read and written again\n%x", i, want, again)
		}
	}
}

// A known field of another wire type is an unknown one, which is ignored: it is no value, and not 0 either.
func TestFieldsOfAnotherWireTypeAreReadAsTheGeneratedCodeReadsThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	read, refused := 0, 0
	for i := range 20_000 {
		body := randomFields(rng)
		for _, row := range []struct {
			kind string
			want proto.Message
			got  func() (proto.Message, error)
		}{
			{"header", new(fsmpb.SnapshotHeader), func() (proto.Message, error) {
				h, err := decodeSnapshotHeader(body)
				return &fsmpb.SnapshotHeader{Applied: h.applied, Written: h.written, Forgotten: h.forgotten}, err
			}},
			{"family", new(fsmpb.FamilyHeader), func() (proto.Message, error) {
				h, err := decodeFamilyHeader(body)
				return &fsmpb.FamilyHeader{Name: h.Name, Help: h.Help, Unit: h.Unit}, err
			}},
			{"request", new(fsmpb.Request), func() (proto.Message, error) {
				r, err := decodeRequest(body)
				return &fsmpb.Request{
					Id: r.id[:], Index: r.index, Fingerprint: r.fingerprint, Status: uint32(r.result.Status),
					Reason: r.result.Reason,
				}, err
			}},
			{"trailer", new(fsmpb.SnapshotTrailer), func() (proto.Message, error) {
				trailer, err := decodeSnapshotTrailer(body)
				return &fsmpb.SnapshotTrailer{Records: trailer.records, Hash: trailer.hash}, err
			}},
		} {
			fails := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, row.want)
			if r, isRequest := row.want.(*fsmpb.Request); isRequest && fails == nil && len(r.Id) != idSize {
				fails = fmt.Errorf("an id of %d bytes", len(r.Id))
			}
			got, err := row.got()
			switch {
			case (err == nil) != (fails == nil):
				t.Fatalf("%d: %s %x: the error is %v, of the generated code %v", i, row.kind, body, err, fails)
			case err != nil:
				refused++
			case !proto.Equal(got, row.want):
				t.Fatalf("%d: %s %x is read as\n%v\nand by the generated code as\n%v", i, row.kind, body, got, row.want)
			default:
				read++
			}
		}
	}
	if read < 20_000 || refused < 1_000 {
		t.Errorf("%d records were read and %d refused, too few to say anything", read, refused)
	}
}

// randomFields returns fields of the first numbers and of any wire types.
func randomFields(rng *rand.Rand) (b []byte) {
	for range rng.IntN(8) {
		number := protowire.Number(1 + rng.IntN(6))
		switch value := rng.Uint64N(200); rng.IntN(5) {
		case 0, 1:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), value)
		case 2:
			b = protowire.AppendFixed64(protowire.AppendTag(b, number, protowire.Fixed64Type), value)
		case 3:
			b = protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type), uint32(value))
		default:
			text := [...]string{"", "text", "\xff", "sixteen letters!", "sixteen letters.", "ü"}[rng.IntN(6)]
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), text)
		}
	}
	return b
}

func TestARecordOfTwoKindsIsRefused(t *testing.T) {
	header := snapshotHeader{applied: 7}.append(nil)
	trailer := snapshotTrailer{records: 1}.append(nil)
	number := protowire.AppendVarint(protowire.AppendTag(nil, recordTrailer, protowire.VarintType), 1)
	if kind, _, err := decodeRecord(slices.Concat(number, header, number)); kind != recordHeader || err != nil {
		t.Errorf("a header beside a field of another wire type is of kind %d (%v)", kind, err)
	}
	for _, two := range [][]byte{
		slices.Concat(header, trailer), slices.Concat(trailer, header), slices.Concat(header, header),
	} {
		if kind, body, err := decodeRecord(two); err == nil {
			t.Errorf("%x is of kind %d with %x", two, kind, body)
		}
	}
}

func TestACommandThatNoVersionWritesIsRejected(t *testing.T) {
	group := []*fsmpb.Label{{Name: "job", Value: "a"}}
	for name, c := range map[string]struct {
		command *fsmpb.Command
		reason  string
	}{
		"no id":     {&fsmpb.Command{Op: &fsmpb.Command_Wipe{Wipe: &fsmpb.Wipe{}}}, "its id has 0 bytes"},
		"no labels": {&fsmpb.Command{Op: &fsmpb.Command_Delete{Delete: &fsmpb.Delete{}}}, "a group without labels"},
		"unsorted group": {
			push(&fsmpb.Push{Group: []*fsmpb.Label{{Name: "job"}, {Name: "a"}}}), `label "a" is out of order`,
		},
		"families": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: "b"}, {Name: "a"}}}),
			`family "a" is out of order`,
		},
		"a family twice": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: "b"}, {Name: "b"}}}),
			`family "b" is out of order`,
		},
		"a push time": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: expo.PushTimeName}}}), "is not pushed",
		},
		"type": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: "a", Type: 77}}}), "has type 77",
		},
		"half a series": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: "a", Series: []byte{1}}}}),
			"1 bytes of series",
		},
		"no such series": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: "a", Series: make([]byte, 16)}}}),
			"0 metrics and 1 series",
		},
		"no metrics": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{Name: "a", Metrics: []byte{1}}}}),
			"is damaged: not a metric",
		},
		"another type": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{
				Name: "a", Type: int32(dto.MetricType_COUNTER), Series: make([]byte, 16),
				Metrics: metricsOf(t, &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(1)}}),
			}}}),
			`family "a": the stored form of the metric family is damaged: metric 0 has no counter`,
		},
		"no value": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{{
				Name: "a", Type: int32(dto.MetricType_SUMMARY), Series: make([]byte, 32),
				Metrics: metricsOf(t, &dto.Metric{Summary: &dto.Summary{}}, &dto.Metric{TimestampMs: proto.Int64(48)}),
			}}}),
			"metric 1 has no summary",
		},
		"noise in a metric": {
			push(&fsmpb.Push{Group: group, Families: []*fsmpb.Family{
				{Name: "a", Series: make([]byte, 16), Metrics: []byte{0x22, 2, 0x0a, 9}},
			}}),
			"is damaged: metric 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "no id" {
				id := NewRequestID()
				c.command.Id = id[:]
			}
			b, err := proto.Marshal(c.command)
			if err != nil {
				t.Fatal(err)
			}
			m := newMachine(t)
			m.put("job=z", "z 1\n")
			m.want(m.apply(b), Rejected, c.reason)
			m.wantSeries(`z{instance="",job="z"} 1`)
		})
	}
}

func metricsOf(t testing.TB, metrics ...*dto.Metric) []byte {
	t.Helper()
	b, err := proto.Marshal(&dto.MetricFamily{Metric: metrics})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func push(p *fsmpb.Push) *fsmpb.Command { return &fsmpb.Command{Op: &fsmpb.Command_Push{Push: p}} }

func randomCommand(rng *rand.Rand, t *testing.T) *command {
	g := randomGroup(rng, t)
	c := &command{op: opPush + operation(rng.IntN(5))}
	switch c.op {
	case opPush:
		c.labels, c.replace = g.Labels(), rng.IntN(2) == 0
		for _, f := range g.Families {
			c.families = append(c.families, f.Family)
		}
	case opReject, opDelete:
		c.labels = g.Labels()
	case opImport:
		c.groups = []*Group{g, randomGroup(rng, t)}
	}
	return c
}

func randomGroup(rng *rand.Rand, t *testing.T) *Group {
	labels := map[string]string{"job": fmt.Sprint("j", rng.IntN(1000))}
	for i := range rng.IntN(4) {
		labels[fmt.Sprint("l", i)] = strings.Repeat("ü", rng.IntN(100))
	}
	ls := expo.NewLabels(labels)
	var body strings.Builder
	for i := range rng.IntN(5) {
		typ := []string{"counter", "gauge", "untyped", "histogram", "summary"}[rng.IntN(5)]
		if rng.IntN(2) == 0 {
			fmt.Fprintf(&body, "# HELP m%d %s\n", i, strings.Repeat("h", 1+rng.IntN(200)))
		}
		fmt.Fprintf(&body, "# TYPE m%d %s\n", i, typ)
		for s := range 1 + rng.IntN(20) {
			suffix := map[string]string{"histogram": "_count", "summary": "_sum"}[typ]
			fmt.Fprintf(&body, "m%d%s{s=\"%d\"} %d\n", i, suffix, s, rng.IntN(1000))
		}
	}
	time := func() int64 { return rng.Int64N(2) * rng.Int64() }
	g := &Group{Key: ls.Key(), PushTime: time(), FailureTime: time(), PushTouched: time(), FailureTouched: time()}
	for _, f := range familiesOf(t, ls, body.String()) {
		if rng.IntN(3) == 0 {
			f.Unit = "bytes"
		}
		g.Families = append(g.Families, Stored{Family: f, Time: time()})
	}
	return g
}

func messageOf(c *command) *fsmpb.Command {
	m := &fsmpb.Command{Id: c.id, Seen: c.seen, Fingerprint: c.fingerprint}
	switch c.op {
	case opPush:
		p := &fsmpb.Push{Group: labelMessages(c.labels), Replace: c.replace}
		for _, f := range c.families {
			p.Families = append(p.Families, familyMessage(f, 0))
		}
		m.Op = &fsmpb.Command_Push{Push: p}
	case opReject:
		m.Op = &fsmpb.Command_Reject{Reject: &fsmpb.Reject{Group: labelMessages(c.labels)}}
	case opDelete:
		m.Op = &fsmpb.Command_Delete{Delete: &fsmpb.Delete{Group: labelMessages(c.labels)}}
	case opWipe:
		m.Op = &fsmpb.Command_Wipe{Wipe: &fsmpb.Wipe{}}
	case opImport:
		all := &fsmpb.Import{}
		for _, g := range c.groups {
			all.Groups = append(all.Groups, groupMessage(g))
		}
		m.Op = &fsmpb.Command_Import{Import: all}
	}
	return m
}

func labelMessages(ls expo.Labels) (out []*fsmpb.Label) {
	for _, l := range ls {
		out = append(out, &fsmpb.Label{Name: l.Name, Value: l.Value})
	}
	return out
}

func familyMessage(f *expo.Family, unixNano int64) *fsmpb.Family {
	var series []byte
	for _, id := range f.Series() {
		series = append(series, id[:]...)
	}
	return &fsmpb.Family{
		Name: f.Name, Help: f.Help, Unit: f.Unit, Type: int32(f.Type), Metrics: f.Metrics(), Series: series,
		Time: unixNano,
	}
}

func groupMessage(g *Group) *fsmpb.Group {
	out := &fsmpb.Group{
		Labels: labelMessages(g.Labels()), PushTime: g.PushTime, FailureTime: g.FailureTime, PushTouched: g.PushTouched,
		FailureTouched: g.FailureTouched,
	}
	for _, f := range g.Families {
		out.Families = append(out.Families, familyMessage(f.Family, f.Time))
	}
	return out
}

// Whether a header has been met before must not show: replicas have met different ones.
func TestAHeaderIsReadTheSameWhetherItIsKnownOrNot(t *testing.T) {
	text := func(n protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
	}
	number := func(n protowire.Number) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), 1)
	}
	long := strings.Repeat("l", maxInterned)
	known := slices.Concat(text(fieldName, "n"), text(fieldHelp, "h"))
	for name, row := range map[string]struct {
		encoded []byte
		want    expo.Header
		fails   bool
	}{
		"the same": {encoded: known, want: expo.Header{Name: "n", Help: "h"}},
		"another help": {
			encoded: slices.Concat(text(fieldName, "n"), text(fieldHelp, "i")), want: expo.Header{Name: "n", Help: "i"},
		},
		"no help": {encoded: text(fieldName, "n"), want: expo.Header{Name: "n"}},
		"a unit": {
			encoded: slices.Concat(known, text(fieldUnit, "u")), want: expo.Header{Name: "n", Help: "h", Unit: "u"},
		},
		"another type": {
			encoded: slices.Concat(known, number(fieldType)), want: expo.Header{Name: "n", Help: "h", Type: 1},
		},
		"a long help": {encoded: slices.Concat(text(fieldName, "n"), text(fieldHelp, long)), want: expo.Header{
			Name: "n", Help: long,
		}},
		"a number as a help": {encoded: slices.Concat(text(fieldName, "n"), number(fieldHelp)), fails: true},
		"a number as a unit": {encoded: slices.Concat(known, number(fieldUnit)), fails: true},
		"no UTF-8":           {encoded: slices.Concat(text(fieldName, "n"), text(fieldHelp, "\xff")), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var in interner
			for _, met := range [][]byte{row.encoded, row.encoded, text(fieldName, "n"), known, row.encoded} {
				f, err := decodeFamily(met, &in)
				switch {
				case &met[0] != &row.encoded[0]:
				case row.fails != (err != nil):
					t.Errorf("the error is %v", err)
				case !row.fails && *f.header != row.want:
					t.Errorf("it is read as %+v, want %+v", *f.header, row.want)
				}
			}
		})
	}
}
