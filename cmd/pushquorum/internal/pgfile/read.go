package pgfile

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// The Pushgateway persists its groups as one gob value: a map of gobGroup by a grouping key of its own. Gob matches
// fields by their names.
type (
	gobGroup struct {
		Labels  map[string]string
		Metrics map[string]gobMetric
	}
	gobMetric struct {
		Timestamp            time.Time
		GobbableMetricFamily *gobFamily
	}
	// gobFamily is an encoded io.prometheus.client.MetricFamily. It is decoded later, because a damaged one must not
	// keep the rest from being read.
	gobFamily struct{ encoded []byte }
)

// GobDecode implements gob.GobDecoder.
func (f *gobFamily) GobDecode(b []byte) error {
	f.encoded = slices.Clone(b)
	return nil
}

// Read decodes what a Pushgateway (1.0 or later) wrote to its --persistence.file. The groups are sorted by grouping
// key, and their families are in canonical form. What a push could not have brought in is left out: skipped has one
// error for each such group or family. Clashes between groups are not looked for, because the state machine does. err
// is set if the file is truncated, damaged or followed by other bytes. An empty file has no groups, as for a
// Pushgateway.
func Read(r io.Reader) (groups []*fsm.Group, skipped []error, err error) {
	in := bufio.NewReader(r) // gob reads not a byte further than it needs
	var stored map[string]gobGroup
	switch err := gob.NewDecoder(in).Decode(&stored); {
	case errors.Is(err, io.EOF):
		return nil, nil, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, nil, errors.New("it is truncated: copy it again after the Pushgateway has been stopped")
	case err != nil:
		return nil, nil, fmt.Errorf("it is damaged, or was not written by a Pushgateway (%w): copy it again", err)
	}
	if _, err := in.ReadByte(); err == nil {
		return nil, nil, errors.New("it is damaged, there is trailing data: copy it again")
	}

	taken := map[string]bool{}
	for _, g := range stored {
		labels := expo.NewLabels(g.Labels)
		if err := checkGroup(labels); err != nil {
			skipped = append(skipped, fmt.Errorf("group %s: %w", labels, err))
			continue
		}
		if taken[labels.Key()] {
			skipped = append(skipped, fmt.Errorf("group %s: the file has it twice", labels))
			continue
		}
		taken[labels.Key()] = true
		group, errs := importGroup(labels, g.Metrics)
		for _, err := range errs {
			skipped = append(skipped, fmt.Errorf("group %s: %w", labels, err))
		}
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b *fsm.Group) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(skipped, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return groups, skipped, nil
}

func checkGroup(labels expo.Labels) error {
	if job, _ := labels.Get("job"); job == "" {
		return errors.New("it has no job")
	}
	// A Pushgateway that allowed UTF-8 names may have written the file.
	return labels.Validate(model.UTF8Validation)
}

// importGroup converts a group's metrics, and returns why it left any of them out.
func importGroup(labels expo.Labels, metrics map[string]gobMetric) (*fsm.Group, []error) {
	group := &fsm.Group{Key: labels.Key()}
	var skipped []error
	var mfs []*dto.MetricFamily
	times := map[string]int64{} // of the last push, by family name
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		mf, at, err := decodeFamily(name, metrics[name])
		switch {
		case err != nil:
			skipped = append(skipped, fmt.Errorf("metric %q: %w", name, err))
		case name == expo.PushTimeName:
			group.PushTime, group.PushTouched = pushMoment(mf, at), at
		case name == expo.PushFailureTimeName:
			group.FailureTime, group.FailureTouched = pushMoment(mf, at), at
		default:
			mfs = append(mfs, mf)
			times[name] = at
		}
	}
	families, errs := canonicalOneByOne(labels, mfs)
	for _, f := range families {
		group.Families = append(group.Families, fsm.Stored{Family: f, Time: times[f.Name]})
	}
	return group, append(skipped, errs...)
}

func decodeFamily(name string, m gobMetric) (*dto.MetricFamily, int64, error) {
	if m.GobbableMetricFamily == nil {
		return nil, 0, errors.New("the file holds nothing of it but the name")
	}
	mf := &dto.MetricFamily{}
	if err := proto.Unmarshal(m.GobbableMetricFamily.encoded, mf); err != nil {
		return nil, 0, fmt.Errorf("damaged: %w", err)
	}
	if mf.GetName() != name {
		return nil, 0, fmt.Errorf("damaged: it calls itself %q", mf.GetName())
	}
	if m.Timestamp.IsZero() || m.Timestamp.Unix() < 0 || m.Timestamp.Unix() > math.MaxInt64/int64(time.Second) {
		return nil, 0, fmt.Errorf("damaged: pushed at %s", m.Timestamp)
	}
	return mf, m.Timestamp.UnixNano(), nil
}

// pushMoment returns the value of a push-time family, in Unix nanoseconds. The value is a rounded copy of at, so that
// at is returned where the two agree; 0 stands for "never".
func pushMoment(mf *dto.MetricFamily, at int64) int64 {
	if len(mf.GetMetric()) != 1 {
		return 0
	}
	switch seconds := mf.GetMetric()[0].GetGauge().GetValue(); {
	case seconds == float64(at)/1e9:
		return at
	case seconds > 0 && seconds < math.MaxInt64/1e9:
		return int64(math.Round(seconds * 1e9))
	default:
		return 0
	}
}

// canonicalOneByOne returns the families in canonical form. It leaves out, with an error for each, those that a push
// could not have brought in: because of themselves, or because they clash with one before them in order of name.
func canonicalOneByOne(labels expo.Labels, mfs []*dto.MetricFamily) ([]*expo.Family, []error) {
	families, err := expo.Canonical(labels, clone(mfs), model.UTF8Validation)
	if err == nil {
		return families, nil
	}
	var errs []error
	families = nil
	types := map[string]expo.Header{}
	for _, mf := range mfs {
		one, err := expo.Canonical(labels, clone([]*dto.MetricFamily{mf}), model.UTF8Validation)
		for _, f := range one {
			for _, name := range expo.ClashingNames(f.Name, f.Type) {
				if other, ok := types[name]; ok && err == nil {
					err = expo.Clash(*f.Header, other)
				}
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("metric %q: %w", mf.GetName(), err))
			continue
		}
		for _, f := range one {
			types[f.Name] = *f.Header
		}
		families = append(families, one...)
	}
	return families, errs
}

// clone returns deep copies, because expo.Canonical may change what it is given.
func clone(mfs []*dto.MetricFamily) []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, len(mfs))
	for i, mf := range mfs {
		out[i] = proto.CloneOf(mf)
	}
	return out
}
