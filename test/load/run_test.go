package main

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain lets this binary be the server of pages that a run starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-serve=") {
		main()
		return
	}
	os.Exit(m.Run())
}

// smallSize is the least with which a run goes all its ways.
func smallSize() size {
	s := quickSize()
	s.groups, s.few, s.window, s.counted = 100, 10, 50*time.Millisecond, 50
	return s
}

func TestARunTakesItsFigures(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it builds the program and starts replicas")
	}
	if runtime.GOOS != "linux" {
		t.Skip("processor time and memory are read from /proc")
	}
	b := newTestBench(t)
	b.peers = peers{}
	b.only = regexp.MustCompile("scrape|wipe")
	if err := b.run(t.Context(), b.stages()); err != nil {
		t.Fatal(err)
	}
	got := b.table.markdown("PushQuorum")
	for _, name := range []string{
		"scrape, text, 2,000 series", "scrape, protobuf, 2,000 series, after 100 pushes",
		"scrape, gzip, 2,000 series, after 100 pushes",
		"resident memory", "allocations of a push", "allocations of a scrape, gzip", "wipe of 100 groups",
	} {
		if !strings.Contains(got, "| "+name) {
			t.Errorf("no figure: %s", name)
		}
	}
	for _, r := range b.table.rows {
		if r.ours.unit == none || r.ours.value < 0 || (r.ours.value == 0 && r.ours.unit == seconds) {
			t.Errorf("not measured: %v", r.cells())
		}
	}
	if !strings.Contains(got, "Pushgateway is missing: apt-get install prometheus-pushgateway") {
		t.Error("the missing peer is not named")
	}
	if t.Failed() {
		t.Logf("\n%s", got)
	}
}

func TestAPeerThatIsMissingIsNamed(t *testing.T) {
	b := newTestBench(t)
	b.peers = peers{}
	if _, err := b.startEtcd(t.Context()); err == nil || !strings.Contains(err.Error(), "PUSHQUORUM_ETCD") {
		t.Errorf("want an error that says what to do, got %v", err)
	}
	t.Setenv("PUSHQUORUM_ETCD", filepath.Join(t.TempDir(), "nothing"))
	if _, err := findPeers(); err == nil || !strings.Contains(err.Error(), "PUSHQUORUM_ETCD") {
		t.Errorf("a variable that names nothing: want an error, got %v", err)
	}
}

func TestARefusedPushFailsTheRun(t *testing.T) {
	var pushes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if pushes.Add(1)%50 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	w := &web{name: "a server that refuses", at: []string{server.Listener.Addr().String()}}
	d, err := newDrive(t.Context(), w, 4, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	o, err := d.fill()
	if err == nil || !strings.Contains(err.Error(), "answers a push with 503") {
		t.Errorf("want the refused push as an error, got %v after %d pushes", err, len(o.samples))
	}
}

func TestEveryGroupIsFilledOnceAndEveryServerIsPushedInto(t *testing.T) {
	var taken [3]atomic.Int64
	w := &web{name: "three servers"}
	for i := range taken {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { taken[i].Add(1) }))
		t.Cleanup(server.Close)
		w.at = append(w.at, server.Listener.Addr().String())
	}
	for _, n := range []int{1, 3, 8} {
		d, err := newDrive(t.Context(), w, n, 240)
		if err != nil {
			t.Fatal(err)
		}
		o, err := d.fill()
		d.close()
		if err != nil || len(o.samples) != 240 {
			t.Fatalf("%d clients: want 240 pushes, got %d (%v)", n, len(o.samples), err)
		}
		for i := range taken {
			if got := taken[i].Swap(0); got < 60 || got > 90 {
				t.Errorf("%d clients: server %d took %d of 240 pushes", n, i, got)
			}
		}
	}
}

func TestAPushThatHadToWaitCountsFromWhenItWasDue(t *testing.T) {
	var pushes atomic.Int64
	pause := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if pushes.Add(1) == 1 {
			<-pause
		}
	}))
	defer server.Close()
	timer := time.AfterFunc(100*time.Millisecond, func() { close(pause) })
	defer timer.Stop()
	w := &web{name: "a server that pauses", at: []string{server.Listener.Addr().String()}}
	d, err := newDrive(t.Context(), w, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	o, err := d.paced(200*time.Millisecond, 100)
	if err != nil || len(o.samples) != 20 {
		t.Fatalf("want 20 pushes, got %d (%v)", len(o.samples), err)
	}
	// The first took 100 ms, and the one that was due 50 ms after it 50 ms, although it was answered at once.
	if first, sixth := o.samples[0].took, o.samples[5].took; first < 80*time.Millisecond ||
		sixth < 30*time.Millisecond {
		t.Errorf("the first push took %s and the sixth %s", first, sixth)
	}
}

func newTestBench(t *testing.T) *bench {
	t.Helper()
	binary := os.Getenv("PUSHQUORUM_BIN")
	if binary == "" {
		lookAtTheSource(t)
		binary = filepath.Join(t.TempDir(), "pushquorum")
		if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/pushquorum").CombinedOutput(); err != nil {
			t.Fatalf("building pushquorum: %v\n%s", err, out)
		}
	}
	b, err := newBench(binary, t.TempDir(), smallSize(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// lookAtTheSource makes the go tool run the test again when the program has changed: it caches a result until a file
// that the test looked at is another.
func lookAtTheSource(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") && entry.Name() != "go.mod" {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoBuildsAreMeasuredInPairs(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it builds the program and starts replicas")
	}
	if runtime.GOOS != "linux" {
		t.Skip("processor time and memory are read from /proc")
	}
	b := newTestBench(t)
	if err := b.run(t.Context(), b.pairedStages(b.binary)); err != nil {
		t.Fatal(err)
	}
	ratios := map[string]int{"pair": 0, "median": 0}
	for _, r := range b.table.rows {
		switch {
		case strings.Contains(r.name, ", pair ") && r.ratio() > 0:
			ratios["pair"]++
		case strings.Contains(r.name, ": median ratio") && r.ours.value > 0:
			ratios["median"]++
		default:
			t.Errorf("not measured: %v", r.cells())
		}
	}
	if ratios["pair"] != 4 || ratios["median"] != 4 {
		t.Errorf("ratios: %v, want 4 of pairs and 4 medians", ratios)
	}
}
