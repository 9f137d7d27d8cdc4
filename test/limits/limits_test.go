package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// files makes files under a new directory.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		path := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), text, err, want)
	}
}

func TestHierarchiesOfBothVersionsAreFound(t *testing.T) {
	dir := files(t, map[string]string{"mountinfo": `24 1 0:22 / /sys rw - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`})
	for controller, want := range map[string][]hierarchy{
		"memory": {{1, "/sys/fs/cgroup/memory"}, {2, "/sys/fs/cgroup/unified"}},
		"cpu":    {{1, "/sys/fs/cgroup/cpu"}, {2, "/sys/fs/cgroup/unified"}},
	} {
		if got, err := hierarchies(filepath.Join(dir, "mountinfo"), controller); err != nil ||
			!slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", controller, got, err, want)
		}
	}
}

func TestWithoutControllersItIsAnErrorThatSaysWhatIsNeeded(t *testing.T) {
	root := files(t, map[string]string{"cgroup.subtree_control": ""}) // and no controller comes with a group
	info := filepath.Join(
		files(t, map[string]string{"mountinfo": "32 24 0:28 / " + root + " rw - cgroup2 cgroup2 rw\n"}), "mountinfo")
	if _, err := findControl(info, "limits"); err == nil || !strings.Contains(err.Error(), "what is needed is root") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "limits-*")); len(left) > 0 {
		t.Errorf("it leaves %q", left)
	}
}

func TestAGroupOfVersion2(t *testing.T) {
	root := files(t, map[string]string{
		"cgroup.subtree_control": "", "limits-r1/memory.max": "", "limits-r1/memory.swap.max": "",
		"limits-r1/cpu.max":       "",
		"limits-r1/memory.events": "low 0\noom 3\noom_kill 2\n", "limits-r1/memory.current": "4096\n",
		"limits-r1/memory.stat": "anon 1024\nfile 2048\n",
	})
	c := control{name: "limits", memory: hierarchy{2, root}, cpu: hierarchy{2, root}}
	g, err := c.group("r1", 128*megabyte, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "limits-r1")
	holds(t, filepath.Join(path, "memory.max"), "134217728")
	holds(t, filepath.Join(path, "memory.swap.max"), "0")
	holds(t, filepath.Join(path, "cpu.max"), "10000 100000")
	if !slices.Equal(g.paths, []string{path}) {
		t.Errorf("a process enters %q", g.paths)
	}
	if kills, err := g.kernelKills(); err != nil || kills != 2 {
		t.Errorf("kills: %d, %v", kills, err)
	}
	if all, own, err := g.usage(); err != nil || all != 4096 || own != 1024 {
		t.Errorf("usage: %d, %d, %v", all, own, err)
	}
}

func TestAGroupOfVersion1(t *testing.T) {
	memory := files(t, map[string]string{
		"limits-r1/memory.limit_in_bytes": "", "limits-r1/memory.usage_in_bytes": "4096\n", // and no swap
		"limits-r1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
		"limits-r1/memory.stat":        "cache 7\nrss 1024\n",
	})
	cpu := files(t, map[string]string{"limits-r1/cpu.cfs_period_us": "", "limits-r1/cpu.cfs_quota_us": ""})
	c := control{name: "limits", memory: hierarchy{1, memory}, cpu: hierarchy{1, cpu}}
	g, err := c.group("r1", 128*megabyte, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(memory, "limits-r1", "memory.limit_in_bytes"), "134217728")
	holds(t, filepath.Join(cpu, "limits-r1", "cpu.cfs_quota_us"), "10000")
	if want := []string{filepath.Join(memory, "limits-r1"), filepath.Join(cpu, "limits-r1")}; !slices.Equal(g.paths,
		want) {
		t.Errorf("a process enters %q", g.paths)
	}
	if kills, err := g.kernelKills(); err != nil || kills != 1 {
		t.Errorf("kills: %d, %v", kills, err)
	}
	if all, own, err := g.usage(); err != nil || all != 4096 || own != 1024 {
		t.Errorf("usage: %d, %d, %v", all, own, err)
	}
}

func TestTheLedgerFindsWhatIsLost(t *testing.T) {
	const page = "# TYPE a gauge\na{job=\"x\"} 2\nb{job=\"y\"} 1\n"
	for _, row := range []struct {
		name string
		book func(*ledger)
		want string // "" all is well
	}{
		{"nothing", func(*ledger) {}, ""},
		{"what is there", func(l *ledger) { l.pushed("x", `a{job="x"}`, "2"); l.pushed("y", `b{job="y"}`, "") }, ""},
		{
			"another value", func(l *ledger) { l.pushed("x", `a{job="x"}`, "3") },
			`a{job="x"} shows 2 after 3 was acknowledged`,
		},
		{
			"a value that may be",
			func(l *ledger) { l.pushed("x", `a{job="x"}`, "1"); l.mayBe("x", `a{job="x"}`, "2") }, "",
		},
		{
			"what is not there", func(l *ledger) { l.pushed("z", `z{job="z"}`, "") },
			`z{job="z"} was acknowledged and is not there`,
		},
		{"what may be there", func(l *ledger) { l.mayBe("z", `z{job="z"}`, "1") }, ""},
		{"what may be deleted", func(l *ledger) { l.pushed("z", `z{job="z"}`, "1"); l.deletes("z") }, ""},
		{"what was pushed after it may have been deleted", func(l *ledger) {
			l.pushed("z", `z{job="z"}`, "1")
			l.deletes("z")
			l.pushed("z", `z{job="z"}`, "2")
		}, `z{job="z"} was acknowledged and is not there`},
		{"what is deleted", func(l *ledger) { l.pushed("z", `z{job="z"}`, "1"); l.deleted("z") }, ""},
		{"a second one of a group", func(l *ledger) {
			l.pushed("x", `a{job="x"}`, "2")
			l.pushed("x", `c{job="x"}`, "2")
		}, `of 2 series that were acknowledged, 1 are wrong: c{job="x"}`},
	} {
		l := newLedger()
		row.book(l)
		err := l.check(page)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

func TestARefusalSaysWhyInOneLine(t *testing.T) {
	for _, row := range []struct {
		answer answer
		good   bool
	}{
		{answer{status: 200}, true},
		{answer{status: 202, body: ""}, true},
		{answer{status: 429, body: "--limit.groups=10: 10 are stored\n"}, true},
		{answer{status: 429}, false},
		{answer{status: 503, body: "\n"}, false},
		{answer{status: 507, body: "one line\nand another"}, false},
	} {
		if err := row.answer.refusal(); (err == nil) != row.good {
			t.Errorf("%d %q: got %v", row.answer.status, row.answer.body, err)
		}
	}
}

func TestNoTwoFormsAreAlike(t *testing.T) {
	seen := map[string]bool{}
	for _, form := range forms() {
		seen[form["Accept"]+"|"+form["Accept-Encoding"]] = true
	}
	if len(seen) != len(forms()) || len(seen) < 24 {
		t.Errorf("%d of %d forms are different, and there are to be 24", len(seen), len(forms()))
	}
}

func TestExpandingBodiesAreSmall(t *testing.T) {
	all, err := expanding()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if len(p.bytes) > expandedSize/10 {
			t.Errorf("%v: %d bytes on the wire", p.header, len(p.bytes))
		}
	}
}

func TestASlowBodyHasTheLengthThatItSays(t *testing.T) {
	const line = "a{b=\"c\"} 1\n"
	n, err := io.Copy(io.Discard, &slow{a: &assault{ctx: t.Context()}, line: line, left: 20_000 * len(line)})
	if err != nil || n != int64(20_000*len(line)) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestATableCountsWhatIsBad(t *testing.T) {
	var out strings.Builder
	rows := newTable(&out, room{name: "small", replicas: 3, memory: 128 * megabyte, within: 2 * time.Second})
	rows.add(row{name: "one", attack: codes{200: 3, 0: 1}})
	rows.add(row{name: "two", err: errors.New("killed\nby the kernel")})
	rows.add(row{name: "three", endless: true})
	if rows.bad() != 1 {
		t.Errorf("%d rows are bad", rows.bad())
	}
	for _, want := range []string{
		"3 replicas, 128 MB of memory each", "1×cut 3×200", "BAD\n    killed\n    by the kernel\n", "never full",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
