package page

import (
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
	"pushquorum/expo/internal/expotest"
)

// TestNamesThatEscapingMakesTheSameStayApart holds the order in which a name is given away:
// to the family or label that has it unescaped, then to the first that escapes to it, and
// the others take the `values` form.
func TestNamesThatEscapingMakesTheSameStayApart(t *testing.T) {
	u, d, v := model.UnderscoreEscaping, model.DotsEscaping, model.ValueEncodingEscaping
	table := []struct {
		name   string
		scheme model.EscapingScheme
		text   string
		lines  []string // sample lines without the labels of the group
	}{
		{"no collision", u, "{\"x.y\"} 1\n", []string{`x_y{} 1`}},
		{"no escaping", model.NoEscaping, "{\"x.y\"} 1\nx_y 2\n", []string{`{"x.y"} 1`, `x_y{} 2`}},
		{"the unescaped name wins", u, "{\"x.y\"} 1\nx_y 2\n", []string{`U__x_2e_y{} 1`, `x_y{} 2`}},
		{
			"the first escaped name wins", u, "{\"x-y\"} 1\n{\"x.y\"} 2\n{\"x/y\"} 3\n",
			[]string{`x_y{} 1`, `U__x_2e_y{} 2`, `U__x_2f_y{} 3`},
		},
		{"dots", d, "{\"x.y\"} 1\nx_dot_y 2\n", []string{`U__x_2e_y{} 1`, `x_dot_y{} 2`}},
		{"even the last resort is taken", u, "{\"x.y\"} 1\nx_y 2\nU__x_2e_y 3\n", []string{`U__x_2e_y{} 3`, `x_y{} 2`}},
		{"values, and that is taken", v, "{\"x.y\"} 1\nU__x_2e_y 3\n", []string{`U__x_2e_y{} 3`}},
		{
			"a count that a histogram writes, too", u,
			"# TYPE \"h.x\" histogram\n{\"h.x_count\"} 1\n{\"h.x_sum\"} 1\nh_x_count 5\n",
			[]string{`U__h_2e_x_bucket{le="+Inf"} 1`, `U__h_2e_x_sum{} 1`, `U__h_2e_x_count{} 1`, `h_x_count{} 5`},
		},
		{
			"a histogram that escapes first", u,
			"# TYPE \"h.x\" histogram\n{\"h.x_count\"} 1\n{\"h.x_sum\"} 1\n{\"h/x_count\"} 5\n",
			[]string{`h_x_bucket{le="+Inf"} 1`, `h_x_sum{} 1`, `h_x_count{} 1`, `U__h_2f_x__count{} 5`},
		},
		{
			"a label that is the same as another", u, "x{\"a.b\"=\"1\",a_b=\"2\"} 1\n",
			[]string{`x{U__a_2e_b="1",a_b="2"} 1`},
		},
		{"two escaped labels", u, "x{\"a.b\"=\"1\",\"a/b\"=\"2\"} 1\n", []string{`x{U__a_2e_b="1",U__a_2f_b="2"} 1`}},
		{
			"a label that becomes reserved", u, "x{\"..name..\"=\"evil\"} 1\n",
			[]string{`x{U___2e__2e_name_2e__2e_="evil"} 1`},
		},
		{
			"a series that is the same as another", u, "x{\"a.b\"=\"1\"} 1\nx{a_b=\"1\"} 2\nx{\"a.b\"=\"2\"} 3\n",
			[]string{`x{U__a_2e_b="1"} 1`, `x{a_b="2"} 3`, `x{a_b="1"} 2`},
		},
		{
			"even the last resort of a label is taken", u, "x{\"a.b\"=\"1\",a_b=\"2\",U__a_2e_b=\"3\"} 1\ny 1\n",
			[]string{`y{} 1`},
		},
	}
	for _, row := range table {
		mfs, err := expo.Parse(strings.NewReader(row.text), expo.FormatText, model.UTF8Validation)
		if err != nil {
			t.Fatal(err)
		}
		families := mustCanonical(t, nil, mfs)
		for _, kind := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
			f := expfmt.NewFormat(kind).WithEscapingScheme(row.scheme)
			body := written(t, f, expositionOf(families))
			expotest.ReadBack(t, f, body)
			if kind == expfmt.TypeProtoDelim {
				continue
			}
			var lines []string
			for line := range strings.Lines(body) {
				if !strings.HasPrefix(line, "#") {
					line = strings.NewReplacer(
						`,instance=""`, "", `instance="",`, "", `instance=""`, "", "\n", "",
					).Replace(line)
					lines = append(lines, line)
				}
			}
			if !slices.Equal(lines, row.lines) {
				t.Errorf("%s: got\n%s\nwant\n%s", row.name, strings.Join(lines, "\n"), strings.Join(row.lines, "\n"))
			}
		}
	}
}

func TestTheProtobufTextFormatsKeepNamesApartToo(t *testing.T) {
	for _, f := range []expfmt.Format{expfmt.FmtProtoText, expfmt.FmtProtoCompact} {
		body := written(t, f, expositionOf([]*expo.Family{gaugeOf("x.y", "", nil, 1), gaugeOf("x_y", "", nil, 2)}))
		if strings.Count(body, `"x_y"`) != 1 || strings.Count(body, `"U__x_2e_y"`) != 1 {
			t.Errorf("%s: %s", f, body)
		}
	}
}

// TestSeriesOfDifferentGroupsStayApartUnderEscaping has the series that needs no escaping in
// a later part than the one that would become the same.
func TestSeriesOfDifferentGroupsStayApartUnderEscaping(t *testing.T) {
	stored := func(labels ...string) []*expo.Family {
		return mustCanonical(t, nil, []*dto.MetricFamily{expotest.Gauge("x", 1, labels...)})
	}
	e := expositionOf(stored("a.b", "1"), stored("a/b", "1"), stored("a_b", "1"), stored("a.b", "2"))
	for _, kind := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
		for _, scheme := range everyScheme() {
			f := expfmt.NewFormat(kind).WithEscapingScheme(scheme)
			if series := expotest.ReadBack(t, f, written(t, f, e)); len(series) != 4 {
				t.Errorf("%s: series %v", f, series)
			}
		}
	}
}

// TestNoPushSpoilsAScrapeUnderAnyEscaping throws names at the writer that collide in many
// ways.
func TestNoPushSpoilsAScrapeUnderAnyEscaping(t *testing.T) {
	alphabet := []string{"a", "_", ".", "_dot_", "/", "U__", "_2e_", "count", "_sum", "é", "1"}
	for seed := range uint64(80) {
		r := expotest.NewRandom(t, seed)
		word := func() string {
			var b strings.Builder
			for range 1 + r.IntN(4) {
				b.WriteString(expotest.Pick(r, alphabet...))
			}
			return b.String()
		}
		var groups [][]*expo.Family
		used := map[string]expo.Header{}
		for g := range 3 {
			var mfs []*dto.MetricFamily
			for range 12 {
				h := expo.Header{Name: word(), Type: dto.MetricType(r.IntN(6))}
				clash := slices.ContainsFunc(mfs, func(mf *dto.MetricFamily) bool { return mf.GetName() == h.Name })
				for _, other := range used {
					clash = clash || expo.Clash(h, other) != nil
				}
				if clash {
					continue
				}
				used[h.Name] = h
				mf := &dto.MetricFamily{Name: &h.Name, Type: h.Type.Enum()}
				seen := map[string]bool{}
				for range 4 {
					labels := map[string]string{"instance": string(rune('0' + g))}
					for range r.IntN(3) {
						if name := word(); !strings.HasPrefix(name, "__") {
							labels[name] = expotest.Pick(r, "1", "2")
						}
					}
					if key := expo.NewLabels(labels).Key(); !seen[key] {
						seen[key] = true
						var flat []string
						for _, l := range expo.NewLabels(labels) {
							flat = append(flat, l.Name, l.Value)
						}
						mf.Metric = append(mf.Metric, r.Metric(h.Type, expotest.Pairs(flat...)))
					}
				}
				mfs = append(mfs, mf)
			}
			groups = append(
				groups, mustCanonical(t, expo.NewLabels(map[string]string{"instance": string(rune('0' + g))}), mfs),
			)
		}
		for _, kind := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
			for _, scheme := range everyScheme() {
				f := expfmt.NewFormat(kind).WithEscapingScheme(scheme)
				expotest.ReadBack(t, f, written(t, f, expositionOf(groups...)))
			}
		}
	}
}
