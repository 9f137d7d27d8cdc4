package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// ClusterStatus is the answer of /api/v1/cluster. AppliedIndex and StateHash belong together.
type ClusterStatus struct {
	Self         string   `json:"self"`
	Leader       string   `json:"leader"` // a name, "" if unknown
	Term         uint64   `json:"term"`
	CommitIndex  uint64   `json:"commit_index"`
	AppliedIndex uint64   `json:"applied_index"`
	StateHash    string   `json:"state_hash"` // hex
	Members      []Member `json:"members"`
}

// Member is one replica as this one knows it.
type Member struct {
	Name         string `json:"name"`
	ID           string `json:"id"` // UUID
	PeerAddress  string `json:"peer_address"`
	Role         string `json:"role"`  // voter or nonvoter
	State        string `json:"state"` // leader, follower, candidate or unknown
	Healthy      bool   `json:"healthy"`
	AppliedIndex uint64 `json:"applied_index"`
	Version      string `json:"version"`
}

// envelope is what every answer of the query API is wrapped in.
type envelope struct {
	Status    string `json:"status"`
	Data      any    `json:"data,omitempty"`
	ErrorType string `json:"errorType,omitempty"`
	Error     string `json:"error,omitempty"`
}

// cors lets pages of other origins query the API, with the headers of the Pushgateway.
func cors(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin")
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Date, "+staleHeader)
		h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
		next(w, r)
	}
}

func (a *API) apiStatus(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, envelope{Status: "success", Data: map[string]any{
		"flags":             a.cfg.Flags,
		"start_time":        a.cfg.StartTime,
		"build_information": a.cfg.BuildInfo,
	}})
}

func (a *API) apiCluster(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, envelope{Status: "success", Data: a.clusterStatus(r.Context())})
}

// clusterStatus waits for members that do not answer no longer than a read waits for the leader.
func (a *API) clusterStatus(ctx context.Context) *ClusterStatus {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Read.Timeout)
	defer cancel()
	status := a.cfg.Cluster(ctx)
	if status.Members == nil {
		status.Members = []Member{}
	}
	return &status
}

// apiMetrics writes one group at a time: all of them together may be many times larger than the text format.
func (a *API) apiMetrics(w http.ResponseWriter, r *http.Request) {
	rd, p := a.read(r.Context())
	if p != nil {
		w.Header().Set("Retry-After", "1")
		a.respond(w, r, p.code, envelope{Status: "error", ErrorType: "unavailable", Error: p.text})
		return
	}
	rd.mark(w)
	w.Header().Set("Content-Type", "application/json")
	out := &sink{ResponseWriter: w}
	if err := writeGroups(out, rd.view); err != nil {
		a.cut(r, out, err)
	}
}

func writeGroups(out io.Writer, view *fsm.View) error {
	buffered := bufio.NewWriterSize(out, 32<<10)
	separator := `{"status":"success","data":[`
	for g := range view.Groups() {
		object, err := groupObject(g)
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(object)
		if err != nil {
			return err
		}
		_, _ = buffered.WriteString(separator)
		if _, err := buffered.Write(encoded); err != nil { // sticky: the one before is in it
			return err
		}
		separator = ","
	}
	if view.Len() == 0 {
		_, _ = buffered.WriteString(separator)
	}
	_, _ = buffered.WriteString("]}")
	return buffered.Flush()
}

func (a *API) respond(w http.ResponseWriter, r *http.Request, code int, answer envelope) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		a.met.once(slog.LevelError, err, "encoding an answer failed", "path", shownPath(r))
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(encoded); err != nil {
		a.log.Debug("client went away", "path", shownPath(r), "source", r.RemoteAddr, "err", err)
	}
}

type familyObject struct {
	Time    time.Time      `json:"time_stamp"`
	Type    string         `json:"type"`
	Help    string         `json:"help,omitempty"`
	Metrics []metricObject `json:"metrics"`
}

// metricObject has the keys of its type; all numbers are strings, because JSON has no NaN.
type metricObject map[string]any

// groupObject has the names of the families beside `labels` and `last_push_successful`. A family of either name hides that
// key, as it does in the Pushgateway: the keys of an object must differ.
func groupObject(g *fsm.Group) (map[string]any, error) {
	object := map[string]any{
		"labels":               g.Labels().Map(),
		"last_push_successful": g.LastPushSuccessful(),
	}
	add := func(f *expo.Family, unixNano int64) error {
		mf, err := f.Decode()
		if err != nil {
			return err
		}
		family := familyObject{Time: time.Unix(0, unixNano).UTC(), Type: f.Type.String(), Help: f.Help, Metrics: make([]metricObject, len(mf.GetMetric()))}
		for i, m := range mf.GetMetric() {
			family.Metrics[i] = newMetricObject(m, f.Type)
		}
		object[f.Name] = family
		return nil
	}
	for _, f := range g.Families {
		if err := add(f.Family, f.Time); err != nil {
			return nil, err
		}
	}
	if err := add(g.PushTimeFamily(), g.PushTouched); err != nil {
		return nil, err
	}
	return object, add(g.FailureTimeFamily(), g.FailureTouched)
}

func labelMap(m *dto.Metric) map[string]string {
	labels := make(map[string]string, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}
