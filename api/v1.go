package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	dto "github.com/prometheus/client_model/go"
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

// envelope wraps every answer of the query API.
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
		"limits":            a.limits(),
	}})
}

// limit is one limit of what may be stored, and how much is.
type limit struct {
	Name  string `json:"name"`
	Used  int64  `json:"used"`
	Limit int64  `json:"limit"`
}

// limits are those that are set, by this replica's own state, which needs no leader.
func (a *API) limits() []limit {
	out := []limit{}
	for _, l := range a.cfg.Store.View().Limits(a.cfg.Limits) {
		out = append(out, limit(l))
	}
	return out
}

func (a *API) apiCluster(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, envelope{Status: "success", Data: a.clusterStatus(r.Context())})
}

// clusterStatus waits for members no longer than a read waits for the leader.
func (a *API) clusterStatus(ctx context.Context) *ClusterStatus {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Read.Timeout)
	defer cancel()
	status := a.cfg.Cluster(ctx)
	if status.Members == nil {
		status.Members = []Member{}
	}
	return &status
}

// apiMetrics writes one metric at a time: all of them together may be many times larger than the text format.
func (a *API) apiMetrics(w http.ResponseWriter, r *http.Request) {
	refuse := func(p *problem) {
		w.Header().Set("Retry-After", "1")
		a.respond(w, r, p.code, envelope{Status: "error", ErrorType: "unavailable", Error: p.text})
	}
	if r.Method != http.MethodHead {
		leave, p := a.queries.enter(r.Context(), recipientOf(w))
		if p != nil {
			refuse(p)
			return
		}
		defer leave()
	}
	rd, p := a.read(r.Context())
	if p != nil {
		refuse(p)
		return
	}
	rd.mark(w)
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return // without Content-Length, for which all of it would have to be made
	}
	out := &sink{ResponseWriter: w}
	if err := writeGroups(out, rd.view); err != nil {
		a.cut(r, out, err)
	}
}

func (a *API) respond(w http.ResponseWriter, r *http.Request, code int, answer envelope) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		a.scrapeLog.once(slog.LevelError, err, "encoding an answer failed", "path", shownPath(r))
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(code)
	if _, err := w.Write(encoded); err != nil {
		a.log.Debug("client went away", "path", shownPath(r), "source", r.RemoteAddr, "err", err)
	}
}

func labelMap(m *dto.Metric) map[string]string {
	labels := make(map[string]string, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}
