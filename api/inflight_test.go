package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pushquorum/fsm"
)

func TestAPoolIsGivenInTurnAndNotWithheldFromThoseWhoHaveSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSemaphore(10)
		if err := p.acquire(t.Context(), 8, time.Second); err != nil {
			t.Fatal(err)
		}
		var got []string
		var mu sync.Mutex
		wait := func(name string, n int64, longest time.Duration) {
			go func() {
				if err := p.acquire(t.Context(), n, longest); err != nil {
					name += ": " + err.Error()
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, name)
			}()
			synctest.Wait()
		}
		wait("large", 5, time.Minute)
		wait("small", 1, time.Minute)
		wait("hasty", 1, time.Second)
		if !p.tryAcquire(2) || p.tryAcquire(1) {
			t.Error("whoever has some already does not get what there is, or more")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		p.release(4)
		synctest.Wait() // 4 are there: not enough for the first one
		p.release(4)
		synctest.Wait()
		want := "[hasty: " + errWait.Error() + " large small]"
		if fmt.Sprint(got) != want && fmt.Sprint(got) != "[hasty: "+errWait.Error()+" small large]" ||
			p.used.Load() != 8 {
			t.Errorf("want %s and 8 taken, got %v and %d", want, got, p.used.Load())
		}
		for range maxWaiting {
			wait("one of many", 9, time.Second)
		}
		if err := p.acquire(t.Context(), 9, time.Second); err != errQueue { //nolint:errorlint // itself
			t.Errorf("want %v, got %v", errQueue, err)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if len(p.queue) != 0 {
			t.Errorf("%d are still waiting", len(p.queue))
		}
	})
}

func TestWhoGivesUpLetsThoseBehindPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSemaphore(10)
		if !p.tryAcquire(8) {
			t.Fatal("nothing is taken")
		}
		go func() { _ = p.acquire(t.Context(), 5, time.Second) }()
		synctest.Wait()
		if err := p.acquire(t.Context(), 2, time.Minute); err != nil || p.used.Load() != 10 {
			t.Errorf("got %v, and %d are taken", err, p.used.Load())
		}
	})
}

// histogramText is a text that is not plain, of about so many bytes.
func histogramText(n int) string {
	var b strings.Builder
	b.WriteString("# TYPE h histogram\n")
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "h_bucket{instance=\"%d\",le=\"1\"} 1\nh_count{instance=\"%d\"} 1\n", i, i)
	}
	return b.String()
}

func plainText(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "metric_%d{code=\"200\"} 1\n", i)
	}
	return b.String()
}

// serve serves a request without a network.
func (g *gateway) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.api.ServeHTTP(w, r)
	return w
}

func (g *gateway) idle() {
	g.t.Helper()
	if in := g.api.inFlight; in.bytes() != 0 || in.requests.used.Load() != 0 || in.largeSlots.used.Load() != 0 {
		g.t.Errorf("%d bytes are still taken, and %d pushes under way", in.bytes(), in.requests.used.Load())
	}
}

// TestMostPushesNeedNothingOfTheParts: others that arrive slowly may hold all of them.
func TestMostPushesNeedNothingOfTheParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startWithoutServer(t)
		in := g.api.inFlight
		for _, p := range []*semaphore{in.small, in.large, in.decoding, in.largeSlots} {
			if !p.tryAcquire(p.size) {
				t.Fatal("taken")
			}
		}
		began := time.Now()
		w := g.serve(httptest.NewRequest(http.MethodPut, "/metrics/job/usual", strings.NewReader(plainText(2<<10))))
		if w.Code != http.StatusOK || time.Since(began) > 0 {
			t.Errorf("a usual push: %d after %s: %s", w.Code, time.Since(began), w.Body)
		}
		w = g.serve(httptest.NewRequest(http.MethodPut, "/metrics/job/larger", strings.NewReader(plainText(32<<10))))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("a larger one: %d", w.Code)
		}
	})
}

// TestASmallPushNeverWaitsForLargeOnes: whatever large ones can take is taken, and nothing is given back.
func TestASmallPushNeverWaitsForLargeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startWithoutServer(t)
		in := g.api.inFlight
		for _, p := range []*semaphore{in.large, in.decoding, in.largeSlots} {
			if !p.tryAcquire(p.size) {
				t.Fatal("taken")
			}
		}
		began := time.Now()
		for name, small := range map[string]struct {
			body   string
			header string
		}{
			"plain":      {plainText(20_000), ""},
			"histogram":  {histogramText(10_000), ""},
			"gzip":       {gzipped(t, plainText(20_000)), "gzip"},
			"snappy":     {snappyFramed(t, histogramText(10_000)), "snappy"},
			"an empty":   {"", ""},
			"no metrics": {"x", ""},
		} {
			for _, chunked := range []bool{false, true} {
				r := httptest.NewRequest(http.MethodPut, "/metrics/job/small", strings.NewReader(small.body))
				r.Header.Set("Content-Encoding", small.header)
				if chunked {
					r.ContentLength = -1
				}
				if w := g.serve(r); w.Code != http.StatusOK && name != "no metrics" ||
					w.Code == http.StatusServiceUnavailable {
					t.Errorf("%s, chunked=%v: got %d: %s", name, chunked, w.Code, w.Body)
				}
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("small pushes waited for %s", waited)
		}
		for _, path := range []string{"/-/healthy", "/-/ready", "/metrics", "/-/metrics", "/api/v1/metrics"} {
			if w := g.serve(httptest.NewRequest(http.MethodGet, path, http.NoBody)); w.Code != http.StatusOK {
				t.Errorf("%s: want 200, got %d: %s", path, w.Code, w.Body)
			}
		}
		// Meanwhile a large one waits as long as it may, and says why it was refused.
		for name, body := range map[string]string{
			"a large body":     plainText(100_000),
			"one that expands": histogramText(60_000),
		} {
			began := time.Now()
			w := g.serve(httptest.NewRequest(http.MethodPut, "/metrics/job/large", strings.NewReader(body)))
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" ||
				!strings.Contains(w.Body.String(), "--push.max-bytes-in-flight=") {
				t.Errorf("%s: want 503 with the flag, got %d: %s", name, w.Code, w.Body)
			}
			if waited := time.Since(began); waited != g.api.cfg.PushTimeout/2 {
				t.Errorf("%s: waited for %s", name, waited)
			}
		}
		for _, p := range []*semaphore{in.large, in.decoding, in.largeSlots} {
			p.release(p.size)
		}
		if w := g.serve(httptest.NewRequest(http.MethodPut, "/metrics/job/large",
			strings.NewReader(histogramText(200_000)))); w.Code != http.StatusOK {
			t.Errorf("want 200 when there is room, got %d: %s", w.Code, w.Body)
		}
		g.idle()
	})
}

func TestPushesAtATimeAreBounded(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxPushes = 1 })
	in := make(chan struct{})
	done := make(chan struct{})
	body, writer := io.Pipe()
	go func() {
		defer close(done)
		r := httptest.NewRequest(http.MethodPut, "/metrics/job/slow", &late{body, sync.OnceFunc(func() { close(in) })})
		r.ContentLength = -1
		g.serve(r)
	}()
	<-in
	if a := g.must(http.StatusServiceUnavailable, "PUT", "/metrics/job/a",
		"x 1\n"); a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "--push.max-requests=1") {
		t.Errorf("want the flag, got %q", a.body)
	}
	g.must(http.StatusOK, "GET", "/-/healthy", "")
	g.must(http.StatusOK, "GET", "/metrics", "")
	g.must(http.StatusAccepted, "DELETE", "/metrics/job/a", "")
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	g.idle()
}

// TestWhatIsBeingReplicatedCounts: the command is in memory until the push is answered.
func TestWhatIsBeingReplicatedCounts(t *testing.T) {
	var g *gateway
	var taken, command int64
	g = start(t, func(c *Config) {
		c.Replica = &counting{c.Replica.(*replica), func(b []byte) {
			taken, command = g.api.inFlight.bytes(),
				int64(len(b))
		}}
	})
	g.must(http.StatusOK, "PUT", "/metrics/job/a", plainText(200_000))
	if command < 100_000 || taken != charged(command) {
		t.Errorf("want the %d bytes of the command taken while it is replicated, got %d", command, taken)
	}
	g.idle()
}

// counting shows each command.
type counting struct {
	*replica
	applies func([]byte)
}

func (c *counting) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	c.applies(command)
	return c.replica.Apply(ctx, command)
}

// hostile are small bodies that would become very much.
func hostile(t testing.TB) map[string]struct{ body, kind, encoding string } {
	const size = 4 << 20
	message := func(parts []byte) string {
		family := protowire.AppendBytes(protowire.AppendTag([]byte{0x0a, 1, 'x', 0x18, 4}, 4, protowire.BytesType),
			parts)
		return string(protowire.AppendBytes(nil, family))
	}
	histogram := func(part ...byte) string {
		return message(protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType),
			bytes.Repeat(part, size/len(part))))
	}
	var labels strings.Builder
	for i := range 128 {
		fmt.Fprintf(&labels, `l%d="",`, i)
	}
	bodies := map[string]struct{ body, kind string }{
		"empty messages":   {strings.Repeat("\x00", size), protobufType},
		"empty buckets":    {histogram(0x1a, 0), protobufType},
		"pieces of deltas": {histogram(0x6a, 1, 0), protobufType},
		"empty labels":     {message(bytes.Repeat([]byte{0x0a, 0}, size/2)), protobufType},
		"short lines":      {strings.Repeat("a 1\n", size/4), ""},
		"shorter lines":    {strings.Repeat("a\n", size/2), ""},
		"128 labels":       {strings.Repeat("a{"+labels.String()+"} 1\n", size/labels.Len()), ""},
	}
	compressed := map[string]struct{ body, kind, encoding string }{}
	for name, b := range bodies {
		compressed[name+", gzip"] = struct{ body, kind, encoding string }{gzipped(t, b.body), b.kind, "gzip"}
		compressed[name+", snappy"] = struct{ body, kind, encoding string }{snappyFramed(t, b.body), b.kind, "snappy"}
	}
	return compressed
}

func TestSmallBodiesThatWouldBecomeVeryMuchAreRefusedAtLittleCost(t *testing.T) {
	const inFlight = 64 << 20
	g := start(t, func(c *Config) { c.MaxBytesInFlight = inFlight })
	for name, b := range hostile(t) {
		r := httptest.NewRequest(http.MethodPut, "/metrics/job/a", strings.NewReader(b.body))
		r.Header.Set("Content-Type", b.kind)
		r.Header.Set("Content-Encoding", b.encoding)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := g.serve(r)
		runtime.ReadMemStats(&after)
		if w.Code != http.StatusRequestEntityTooLarge && w.Code != http.StatusBadRequest ||
			w.Code == http.StatusRequestEntityTooLarge && !strings.Contains(w.Body.String(), "bytes or more to ") {
			t.Errorf("%s: want 413 that says why, or 400, got %d: %s", name, w.Code, w.Body)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > inFlight {
			t.Errorf("%s: %d bytes of %d were allocated before it was refused", name, n, len(b.body))
		}
	}
	g.idle()
}

// TestManyLargeBodiesAtATimeTakeBoundedMemory: of 300 connections, each of which sends 16 MB at once, and half of them
// without saying how much it will be.
func TestManyLargeBodiesAtATimeTakeBoundedMemory(t *testing.T) {
	const inFlight, connections = 64 << 20, 300
	g := start(t, func(c *Config) { c.MaxBytesInFlight, c.PushTimeout = inFlight, time.Second })
	body := []byte(comments(DefaultMaxBodyBytes))
	peak, stop := watchHeap()
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			head, tail := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)), ""
			if i%2 == 0 {
				head, tail = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(body)), "\r\n0\r\n\r\n"
			}
			code, text, err := exchange(t, g, head, body, tail)
			switch {
			case err != nil:
				t.Error(err)
			case code == http.StatusServiceUnavailable, code == http.StatusRequestEntityTooLarge:
				if !strings.Contains(text, "--push.max-bytes-in-flight=67108864") {
					t.Errorf("%d without the flag: %s", code, text)
				}
			// this machine may be too slow to send as much
			case code != http.StatusOK && code != http.StatusRequestTimeout:
				t.Errorf("got %d: %s", code, text)
			}
		})
	}
	wg.Wait()
	stop()
	if got := *peak; got > 6*inFlight {
		t.Errorf("the heap grew to %d MiB, with --push.max-bytes-in-flight=%d MiB", got>>20, inFlight>>20)
	}
	g.idle()
}

// exchange sends a push by hand, without memory for it, and reads the answer even if not all could be sent.
func exchange(t *testing.T, g *gateway, head string, body []byte, tail string) (code int, text string, err error) {
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.server.URL, "http://"))
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if _, err = io.WriteString(conn, "PUT /metrics/job/a HTTP/1.1\r\nHost: h\r\n"+head); err == nil {
		if _, err = conn.Write(body); err == nil {
			_, err = io.WriteString(conn, tail)
		}
	}
	sent := err
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", errors.Join(sent, err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	return res.StatusCode, string(content), err
}

// watchHeap returns where the largest heap is put that it sees until it is told to stop.
func watchHeap() (peak *uint64, stop func()) {
	peak = new(uint64)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(sample)
			*peak = max(*peak, sample[0].Value.Uint64())
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return peak, func() { close(end); <-ended }
}

func TestAPathIsBounded(t *testing.T) {
	g := start(t)
	if a := g.must(http.StatusRequestURITooLong, "PUT", "/metrics/job/"+strings.Repeat("a", maxPath),
		"x 1\n"); !strings.Contains(a.body, "16397 bytes") {
		t.Errorf("want how long it is, got %q", a.body)
	}
	g.must(http.StatusOK, "PUT", "/metrics/job/"+strings.Repeat("a", maxPath-len("/metrics/job/")), "x 1\n")
	if a := g.must(http.StatusBadRequest, "PUT", "/metrics/job/a/"+strings.Repeat("a", 10_000),
		"x 1\n"); len(a.body) > 1000 {
		t.Errorf("the path is repeated in %d bytes", len(a.body))
	}
}

// ordinaryFamilies are some that a job may push.
func ordinaryFamilies(rng *rand.Rand, bytes int) []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for i, size := 0, 0; size < bytes; i++ {
		mf := &dto.MetricFamily{
			Name: proto.String(fmt.Sprintf("job_%d_metric", i)),
			Help: proto.String("What the job has \"measured\"."), Type: dto.MetricType(rng.IntN(5)).Enum(),
		}
		for j := range 1 + rng.IntN(20) {
			m := &dto.Metric{Label: []*dto.LabelPair{{
				Name:  proto.String("series"),
				Value: proto.String(fmt.Sprint(j)),
			}}}
			for k := range rng.IntN(10) {
				m.Label = append(m.Label, &dto.LabelPair{
					Name:  proto.String(fmt.Sprintf("label_%d", k)),
					Value: proto.String(strings.Repeat("value=,", rng.IntN(4))),
				})
			}
			value := proto.Float64(rng.NormFloat64())
			switch mf.GetType() {
			case dto.MetricType_COUNTER:
				m.Counter = &dto.Counter{Value: value}
			case dto.MetricType_GAUGE:
				m.Gauge = &dto.Gauge{Value: value}
			case dto.MetricType_UNTYPED:
				m.Untyped = &dto.Untyped{Value: value}
			case dto.MetricType_SUMMARY:
				m.Summary = &dto.Summary{SampleCount: proto.Uint64(1), SampleSum: value}
				for q := range rng.IntN(6) {
					m.Summary.Quantile = append(m.Summary.Quantile,
						&dto.Quantile{Quantile: proto.Float64(float64(q) / 6), Value: value})
				}
			default:
				m.Histogram = &dto.Histogram{SampleCount: proto.Uint64(1), SampleSum: value}
				for le := range rng.IntN(15) {
					m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{
						UpperBound:      proto.Float64(float64(le)),
						CumulativeCount: proto.Uint64(1),
					})
				}
			}
			mf.Metric = append(mf.Metric, m)
		}
		size += proto.Size(mf)
		families = append(families, mf)
	}
	return families
}

func TestAnOrdinaryPushIsNeverRefusedForWhatItMayTake(t *testing.T) {
	for _, machine := range []struct {
		inFlight int64
		largest  int // bytes of protobuf; of text it is several times as much
	}{{8 << 20, 8 << 10}, {DefaultMaxInFlight, 200 << 10}} {
		g := startWithoutServer(t, func(c *Config) { c.MaxBytesInFlight = machine.inFlight })
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, 7))
			families := ordinaryFamilies(rng, 1+rng.IntN(machine.largest))
			var text strings.Builder
			for _, mf := range families {
				if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
					t.Fatal(err)
				}
			}
			for _, body := range []struct{ content, kind, encoding string }{
				{text.String(), "", ""},
				{gzipped(t, text.String()), "", "gzip"},
				{delimited(t, families...), protobufType, ""},
				{snappyFramed(t, delimited(t, families...)), protobufType, "snappy"},
			} {
				r := httptest.NewRequest(http.MethodPut, "/metrics/job/a/instance/b", strings.NewReader(body.content))
				r.Header.Set("Content-Type", body.kind)
				r.Header.Set("Content-Encoding", body.encoding)
				if w := g.serve(r); w.Code != http.StatusOK {
					t.Errorf("seed %d, %d bytes of %d, %s: got %d: %s", seed, len(body.content), text.Len(),
						body.encoding, w.Code, w.Body)
				}
			}
		}
		g.idle()
	}
}
