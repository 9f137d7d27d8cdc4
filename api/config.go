package api

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"pushquorum/fsm"
)

// Replica is what the API needs of the consensus layer. Its methods are safe for concurrent use.
type Replica interface {
	// Apply replicates an encoded command and returns its result. An [fsm.NotAppliedError] means that nothing has
	// changed, any other error that the outcome is unknown. The same command may be sent again after either.
	Apply(ctx context.Context, command []byte) (fsm.Result, error)
	// ReadBarrier returns nil once the local state includes every command that any replica acknowledged before the
	// call.
	ReadBarrier(ctx context.Context) error
	// Staleness is the time since the local state was last known to be current. ok is false if it has not been current
	// since the start.
	Staleness() (age time.Duration, ok bool)
	// Ready returns nil, or why this replica cannot serve requests now.
	Ready() error
	// Healthy returns nil, or why this replica needs a restart.
	Healthy() error
}

// Store is the local copy of the replicated state. *fsm.FSM is one.
type Store interface {
	View() *fsm.View
	Applied() uint64
	// Weight returns the bytes that the stored state takes, and those that all replaced state has taken so far.
	Weight() (stored, replaced int64)
}

// Consistency says what a read promises.
type Consistency string

// The values of --read.consistency.
const (
	Available    Consistency = "available"    // linearizable, or without a leader the last local state, marked as stale
	Linearizable Consistency = "linearizable" // never stale: 503 without a leader
	Local        Consistency = "local"        // the local state, without asking anyone
)

// ReadPolicy says how scrapes and queries behave.
type ReadPolicy struct {
	Consistency  Consistency   // default Available
	Timeout      time.Duration // how long to wait for a read barrier; default 1 s
	MaxStaleness time.Duration // oldest state that Available serves; default 5 min
}

// Defaults of the limits that a zero Config value stands for.
const (
	DefaultPushTimeout  = 8 * time.Second // clients of Java and Rust give up after 10
	DefaultMaxBodyBytes = 16 << 20
	DefaultMaxInFlight  = 256 << 20
	DefaultMaxPushes    = 4096
	defaultReadTimeout  = time.Second
	defaultMaxStaleness = 5 * time.Minute
)

// How many answers of a kind are made at a time, where clients cannot share them.
const (
	maxStreams = 4
	maxQueries = 2
	maxViews   = 2
)

// Config is what the command line and the other packages give to the API. Replica, Store, Registerer and Gatherer are
// required.
type Config struct {
	Replica Replica
	Store   Store
	// Cluster reports the members for /api/v1/cluster and the page for people. nil: the endpoint answers 404.
	Cluster func(context.Context) ClusterStatus

	// Registerer gets the API's own metrics. Gatherer serves all of the process's; both are usually one
	// prometheus.Registry.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
	// IncludeSelf adds the Gatherer's metrics to the telemetry path. A push that clashes with them is rejected with it
	// or without.
	IncludeSelf bool

	RoutePrefix    string // as ComputeRoutePrefix returns it: "" or "/prefix"
	ExternalPrefix string // the same of --web.external-url alone: where the page finds its links
	TelemetryPath  string // under the route prefix; default /metrics

	EnableAdmin     bool
	EnableLifecycle bool
	Quit            func() // called once, on the first request to /-/quit

	UTF8Names bool // --push.enable-utf8-names
	// Unchecked is --push.disable-consistency-check. A good push is answered 202, as by a Pushgateway with this flag.
	// It is checked all the same.
	Unchecked    bool
	PushTimeout  time.Duration // for a body to arrive, and again from there to the answer; default DefaultPushTimeout
	MaxBodyBytes int64         // of a push, on the wire and decompressed; default DefaultMaxBodyBytes
	Limits       fsm.Limits    // shown, with how near they are; Replica enforces them
	// PageBytes bounds the memory of pages that are kept, being built or being sent, in bytes. A page that does not fit
	// is streamed. 0: no bound.
	PageBytes int64
	// MaxBytesInFlight bounds the memory of all pushes that are under way, from the first byte of a body to the answer,
	// in bytes. A push that finds no room waits for it, up to half of PushTimeout, and is then answered 503; one that
	// could never fit is answered 413. A quarter is for bodies, half for what they are decoded into, a quarter for
	// small pushes. Default DefaultMaxInFlight.
	MaxBytesInFlight int64
	MaxPushes        int // at a time; more are answered 503; default DefaultMaxPushes
	Read             ReadPolicy

	Flags     map[string]string // shown by /api/v1/status and the page
	BuildInfo map[string]string // version, revision, branch, buildUser, buildDate, goVersion
	StartTime time.Time         // default: when New is called
	Logger    *slog.Logger      // default: discards
}

// API serves HTTP for one replica. All of its fields are immutable after New, or guard themselves.
type API struct {
	cfg             Config
	inFlight        *inFlight
	log             *slog.Logger
	scrapeLog       *scrapeLog
	naming          naming
	metrics         *instruments
	selfMetrics     *selfMetrics
	pageSelfMetrics *selfMetrics // own, if it is on the telemetry path; else nil
	pages           *pages
	pinned          *pinned
	streams         *lane // answers on the telemetry path that do not fit into PageBytes
	queries         *lane // answers to /api/v1/metrics
	views           *lane // pages for people
	template        *template.Template
	quit            sync.Once
	handler         http.Handler
}

// New returns a handler for every path of the surface. It registers the API's own metrics, and returns an error if they
// are already registered or if the configuration cannot work.
func New(cfg Config) (*API, error) {
	if cfg.Replica == nil || cfg.Store == nil || cfg.Registerer == nil || cfg.Gatherer == nil {
		return nil, errors.New("api: Replica, Store, Registerer and Gatherer are required")
	}
	if cfg.EnableLifecycle && cfg.Quit == nil {
		return nil, errors.New("api: EnableLifecycle needs Quit")
	}
	setDefaults(&cfg)
	switch cfg.Read.Consistency {
	case Available, Linearizable, Local:
	default:
		return nil, fmt.Errorf("read consistency %q is unknown: use %s, %s or %s",
			cfg.Read.Consistency, Available, Linearizable, Local)
	}
	inFlight := newInFlight(cfg.MaxBytesInFlight, cfg.MaxPushes, cfg.PushTimeout/2)
	metrics, err := newInstruments(cfg.Registerer, inFlight)
	if err != nil {
		return nil, err
	}
	a := &API{
		cfg:       cfg,
		inFlight:  inFlight,
		log:       cfg.Logger,
		scrapeLog: newScrapeLog(cfg.Logger),
		metrics:   metrics,
		naming:    naming{scheme: model.LegacyValidation, escaping: model.NoEscaping},
	}
	if cfg.UTF8Names {
		a.naming = naming{scheme: model.UTF8Validation, escaping: model.ValueEncodingEscaping}
	}
	a.selfMetrics = &selfMetrics{gatherer: cfg.Gatherer, scrapeLog: a.scrapeLog, now: time.Now}
	if cfg.IncludeSelf {
		a.pageSelfMetrics = a.selfMetrics
	}
	pushes := &traffic{store: cfg.Store, now: time.Now}
	a.pages = newPages(cfg.Store, a.pageSelfMetrics, pushes.pushesActive,
		newPageBudget(cfg.PageBytes, metrics.pageBytes))
	a.pinned = newPinned(cfg.Store, cfg.Limits.StateBytes)
	const tooLarge = "the metrics in a form for which there is no room in --web.max-page-bytes"
	a.streams = newLane(tooLarge, maxStreams, a.pinned)
	a.queries = newLane("all groups as JSON", maxQueries, a.pinned)
	a.views = newLane("this page", maxViews, nil)
	if a.template, err = template.ParseFS(uiFiles, "ui/page.html"); err != nil {
		return nil, err
	}
	if a.handler, err = a.routes(); err != nil {
		return nil, err
	}
	return a, nil
}

func setDefaults(cfg *Config) {
	if cfg.TelemetryPath == "" {
		cfg.TelemetryPath = "/metrics"
	}
	if cfg.PushTimeout <= 0 {
		cfg.PushTimeout = DefaultPushTimeout
	}
	if cfg.MaxBodyBytes <= 0 {
		cfg.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if cfg.MaxBytesInFlight <= 0 {
		cfg.MaxBytesInFlight = DefaultMaxInFlight
	}
	if cfg.MaxPushes <= 0 {
		cfg.MaxPushes = DefaultMaxPushes
	}
	if cfg.Read.Consistency == "" {
		cfg.Read.Consistency = Available
	}
	if cfg.Read.Timeout <= 0 {
		cfg.Read.Timeout = defaultReadTimeout
	}
	if cfg.Read.MaxStaleness <= 0 {
		cfg.Read.MaxStaleness = defaultMaxStaleness
	}
	if cfg.StartTime.IsZero() {
		cfg.StartTime = time.Now()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

// ComputeRoutePrefix returns the prefix of all routes for --web.route-prefix and --web.external-url, as the Pushgateway
// does: "" or "/prefix". Without a prefix the path of the URL counts, and "/" is no prefix. externalURL may be nil.
func ComputeRoutePrefix(prefix string, externalURL *url.URL) string {
	if prefix == "" && externalURL != nil {
		prefix = externalURL.Path
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix == "" {
		return ""
	}
	if prefix[0] != '/' {
		prefix = "/" + prefix
	}
	return prefix
}
