package api

import (
	"bytes"
	"embed"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
	"pushquorum/fsm"
)

//go:embed ui
var uiFiles embed.FS

// uiPage is what the template shows.
type uiPage struct {
	Prefix    string // of links, without a final slash
	Telemetry string // path, below the prefix
	Version   string
	Query     string
	Notice    string
	Admin     bool
	Groups    []uiGroup
	Total     int // groups stored
	Matching  int // groups that the query selects
	Cluster   *ClusterStatus
	Limits    []limit
	Flags     []pair
	Build     []pair
	Started   string
}

// Percent is how much of a limit is used.
func (l limit) Percent() int64 { return int64(100 * float64(l.Used) / float64(l.Limit)) }

// Reached tells whether there is no more room.
func (l limit) Reached() bool { return l.Used >= l.Limit }

type pair struct{ Name, Value string }

type uiGroup struct {
	Labels                []pair
	Path                  string // to DELETE, relative to the prefix
	Failed                bool
	LastPush, LastFailure string
	Families              []uiFamily
	Hidden                int // families left out
}

type uiFamily struct {
	Name, Type, Help, Pushed string
	Series                   []uiSeries
	Hidden                   int // series left out
}

type uiSeries struct{ Labels, Value string }

func (a *API) serveUI(w http.ResponseWriter, r *http.Request) {
	p := &uiPage{
		Prefix:    a.cfg.ExternalPrefix,
		Telemetry: path.Join("/", a.cfg.TelemetryPath),
		Version:   a.cfg.BuildInfo["version"],
		Query:     r.URL.Query().Get("q"),
		Admin:     a.cfg.EnableAdmin,
		Limits:    a.limits(),
		Flags:     pairs(a.cfg.Flags),
		Build:     pairs(a.cfg.BuildInfo),
		Started:   a.cfg.StartTime.UTC().Format(time.RFC3339),
	}
	if p.Prefix == "" {
		p.Prefix = "." // / and /status are in one directory
	}
	leave, problem := a.views.enter(r.Context(), recipientOf(w))
	if problem != nil {
		a.refuse(w, r, problem)
		return
	}
	defer leave()
	if rd, problem := a.read(r.Context()); problem != nil {
		p.Notice = "No groups can be shown: " + problem.text
	} else {
		rd.mark(w)
		if rd.stale {
			p.Notice = fmt.Sprintf(
				"No leader answers. This is the state of %s ago and may lack later pushes.", rd.age.Round(time.Second),
			)
		}
		a.fill(p, rd.view)
	}
	if a.cfg.Cluster != nil {
		p.Cluster = a.clusterStatus(r.Context())
	}
	var out bytes.Buffer
	if err := a.template.Execute(&out, p); err != nil {
		a.scrapeLog.once(slog.LevelError, err, "rendering the page failed")
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	if _, err := out.WriteTo(w); err != nil {
		a.log.Debug("client went away", "path", shownPath(r), "source", r.RemoteAddr, "err", err)
	}
}

// fill puts the groups that the query selects into the page, as many as fit.
func (a *API) fill(p *uiPage, view *fsm.View) {
	p.Total = view.Len()
	room := newUIRoom()
	for g := range view.Groups() {
		if !selected(g, p.Query) {
			continue
		}
		if p.Matching++; !room.group() {
			continue
		}
		labels := g.Labels()
		group := uiGroup{
			Path:     room.link(strings.TrimPrefix(a.naming.pathOf(labels), "/")),
			Failed:   !g.LastPushSuccessful(),
			LastPush: moment(g.PushTime), LastFailure: moment(g.FailureTime),
		}
		for _, l := range jobFirst(labels) {
			group.Labels = append(group.Labels, pair{room.twice(l.Name), room.twice(l.Value)})
		}
		for i, f := range g.Families {
			if !room.family() {
				group.Hidden = len(g.Families) - i
				break
			}
			family := uiFamily{
				Name: room.text(f.Name), Type: expo.TypeWord(f.Type), Help: room.text(f.Help), Pushed: moment(f.Time),
			}
			family.Series = a.series(f.Family, room)
			family.Hidden = f.Len() - len(family.Series)
			group.Families = append(group.Families, family)
		}
		p.Groups = append(p.Groups, group)
	}
}

// selected tells whether the query occurs in one of the group's labels or metric names.
func selected(g *fsm.Group, query string) bool {
	labels := g.Labels()
	if query == "" || strings.Contains(labels.String(), query) {
		return true
	}
	for _, l := range labels { // whose String may be cut
		if strings.Contains(l.Value, query) {
			return true
		}
	}
	for _, f := range g.Families {
		if strings.Contains(f.Name, query) {
			return true
		}
	}
	return false
}

// series returns as many of a family's series as there is room for. It does not decode the others, because they may be
// many.
func (a *API) series(f *expo.Family, room *uiRoom) (shown []uiSeries) {
	for encoded, err := range f.Encoded() {
		left := room.bytes
		if err == nil && !room.oneSeries() {
			break
		}
		if len(encoded) > maxShownMetric {
			shown = append(shown, uiSeries{Value: fmt.Sprintf("too long for this page: %d bytes", len(encoded))})
			continue
		}
		var m *dto.Metric
		if err == nil {
			m, err = encoded.Decode()
		}
		if err != nil {
			a.scrapeLog.once(slog.LevelError, err, "a stored metric cannot be shown", "metric", f.Name)
			break
		}
		shown = append(shown, uiSeries{
			Labels: room.text(expo.NewLabels(labelMap(m)).String()), Value: room.long(uiValue(m, f.Type)),
		})
		room.bytes = min(room.bytes, left-len(encoded)) // because decoding takes time, however little is shown
	}
	return shown
}

// uiValue writes a metric's value in lines.
func uiValue(m *dto.Metric, t dto.MetricType) string {
	var b strings.Builder
	switch t {
	case dto.MetricType_SUMMARY:
		s := m.GetSummary()
		fmt.Fprintf(&b, "count %d, sum %s", s.GetSampleCount(), number(s.GetSampleSum()))
		for _, q := range s.GetQuantile() {
			fmt.Fprintf(&b, "\nquantile %s: %s", number(q.GetQuantile()), number(q.GetValue()))
		}
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		h := m.GetHistogram()
		count, buckets := classicCount(h), ""
		if integer, float := native(h); integer != nil {
			count = fmt.Sprint(integer.Count)
			buckets = nativeValue(integer, len(integer.NegativeBuckets), len(integer.PositiveBuckets))
		} else if float != nil {
			count = fmt.Sprint(float.Count)
			buckets = nativeValue(float, len(float.NegativeBuckets), len(float.PositiveBuckets))
		}
		fmt.Fprintf(&b, "count %s, sum %s", count, number(h.GetSampleSum()))
		for _, bucket := range h.GetBucket() {
			fmt.Fprintf(&b, "\n≤ %s: %s", number(bucket.GetUpperBound()), bucketCount(bucket))
		}
		b.WriteString(buckets)
	default:
		return number(simpleValue(m))
	}
	return b.String()
}

// nativeValue writes the buckets of a native histogram in one line. It counts them if they are many, because most of
// the text would be cut.
func nativeValue(h fmt.Stringer, negative, positive int) string {
	if buckets := negative + positive; buckets > maxShownBuckets {
		return fmt.Sprintf("\nnative: %d buckets, too many for this page", buckets)
	}
	return "\nnative: " + h.String()
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func moment(unixNano int64) string {
	if unixNano == 0 {
		return "never"
	}
	return time.Unix(0, unixNano).UTC().Format(time.RFC3339)
}

func jobFirst(ls expo.Labels) []pair {
	out := make([]pair, 0, len(ls))
	for _, l := range ls {
		out = append(out, pair(l))
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name == "job" && out[j].Name != "job" })
	return out
}

func pairs(m map[string]string) []pair {
	out := make([]pair, 0, len(m))
	for _, l := range expo.NewLabels(m) {
		out = append(out, pair(l))
	}
	return out
}

// serveStatic serves the page's files. The route has been taken from the path.
func serveStatic(w http.ResponseWriter, r *http.Request) {
	content, err := uiFiles.ReadFile(path.Join("ui/static", path.Clean("/"+r.URL.Path)))
	if err != nil {
		http.Error(w, fmt.Sprintf("there is no file %q: load the page again", shorten(r.URL.Path)), http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", staticType(path.Ext(r.URL.Path)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=3600") // the page asks for them with its version
	h.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content)
}

// staticType is the Content-Type of a file. It does not ask the machine's own table, which may lack or change types.
func staticType(extension string) string {
	switch extension {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return "application/octet-stream"
	}
}
