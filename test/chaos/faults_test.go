package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheReadmeListsEveryFaultInItsOrder: the first column of the table, a row of which may have several.
func TestTheReadmeListsEveryFaultInItsOrder(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)\n## Faults\n.*?\n## `).Find(text)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`([a-z]+)`").FindAllSubmatch(row[1], -1) {
			listed = append(listed, string(name[1]))
		}
	}
	if want := faultNames(); !slices.Equal(listed, want) {
		t.Errorf("README.md lists\n%q, and there are\n%q", listed, want)
	}
}

// answering is a cluster whose replicas answer with these lists of members, and these pages.
func answering(t *testing.T, pages map[string]status, metrics string) *cluster {
	t.Helper()
	c := &cluster{history: newHistory(), inspector: newAsker()}
	for _, name := range []string{"r1", "r2", "r3"} {
		r := &replica{c: c, name: name, member: true}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			page, ok := pages[name]
			switch {
			case !ok:
				w.WriteHeader(http.StatusServiceUnavailable)
			case q.URL.Path == "/metrics":
				_, _ = fmt.Fprint(w, metrics)
			default:
				_ = json.NewEncoder(w).Encode(map[string]status{"data": page})
			}
		}))
		t.Cleanup(server.Close)
		r.web = strings.TrimPrefix(server.URL, "http://")
		c.replicas = append(c.replicas, r)
	}
	return c
}

// sees is a list of members: "r1 1 voter" is one that answers, "-r1 1 voter" one that does not.
func sees(self string, members ...string) status {
	s := status{Self: self}
	for _, text := range members {
		m := member{Healthy: !strings.HasPrefix(text, "-")}
		_, _ = fmt.Sscan(strings.TrimPrefix(text, "-"), &m.Name, &m.ID, &m.Role)
		s.Members = append(s.Members, m)
	}
	return s
}

func TestANewcomerIsKnownByAnIDThatItsNameHadNot(t *testing.T) {
	for _, row := range []struct {
		name          string
		pages         map[string]status
		member, voter bool
	}{
		{"nobody answers", nil, false, false},
		{
			"its predecessor alone is there",
			map[string]status{"r1": sees("r1", "r1 1 voter", "-r2 2 voter")},
			false,
			false,
		},
		{"it is a member", map[string]status{"r1": sees("r1", "-r2 2 voter", "r2 20 nonvoter")}, true, false},
		{"one of the others has given it a vote", map[string]status{"r1": sees("r1", "r2 20 nonvoter"), "r3": sees("r3",
			"r2 20 voter")}, true, true},
		{"it alone says so", map[string]status{"r2": sees("r2", "r2 20 voter")}, false, false},
	} {
		n := &nemesis{c: answering(t, row.pages, "")}
		nc := newcomer{n.c.replicas[1], map[string]bool{"2": true}}
		if got := n.is(nc, "nonvoter") == nil; got != row.member {
			t.Errorf("%s: it is a member: %v", row.name, got)
		}
		if got := n.is(nc, "voter") == nil; got != row.voter {
			t.Errorf("%s: it is a voter: %v", row.name, got)
		}
	}
}

func TestWhatShowsOfStrangers(t *testing.T) {
	strangers := map[string]bool{"8": true, "9": true}
	for _, row := range []struct {
		name, metrics string
		page          status
		want          []string
	}{
		{
			"nothing", "# TYPE chaos_a gauge\nchaos_a{job=\"stranger\"} 1\n",
			sees("r1", "r1 1 voter", "-r2 2 nonvoter"), nil,
		},
		{"members", "", sees("r1", "r1 1 voter", "-s1 9 nonvoter", "s2 8 voter"), []string{
			"r1 shows s1 of another cluster, as a nonvoter", "r1 shows s2 of another cluster, as a voter",
		}},
		{"metrics", "x 1\nstranger{job=\"stranger\"} 1\n", sees("r1", "r1 1 voter"), []string{
			"r1 shows metrics of another cluster",
		}},
		{"one that is nobody's yet", "", sees("r1", "r1 1 voter", "s3 7 nonvoter"), nil},
		{"what a newcomer finds", "stranger 1\n", sees("r1", "r1 1 nonvoter", "s1 9 voter"), nil},
	} {
		c := answering(t, map[string]status{"r1": row.page}, row.metrics)
		if got := c.replicas[0].showsOf(strangers, strangeJob); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestAReplicaMayBeAVoterOfOneClusterOnly(t *testing.T) {
	ours := []string{"r1 1 voter", "r2 2 voter", "r3 3 voter"}
	for _, row := range []struct {
		name   string
		also   []string // what ours sees beyond itself
		theirs []string // what s1 sees
		want   string
	}{
		{"two clusters", nil, []string{"s1 11 voter", "s2 12 voter"}, ""},
		{"one that has not formed", nil, []string{"s1 11 nonvoter", "r1 1 voter"}, ""},
		{"one that has joined", []string{"s1 11 voter"}, append([]string{"s1 11 voter"}, ours...), ""},
		{"one that is in the gossip", []string{"s2 12 nonvoter"}, []string{"s1 11 voter", "s2 12 voter"}, ""},
		{
			"one that both count",
			[]string{"s2 12 voter"},
			[]string{"s1 11 voter", "s2 12 voter"},
			"the replica 12 as a voter, and s1",
		},
	} {
		members := append(slices.Clone(ours), row.also...)
		c := answering(t, map[string]status{"r1": sees("r1", members...), "r2": sees("r2", members...)}, "")
		c.strangers = answering(t, map[string]status{"r1": sees("s1", row.theirs...)}, "")
		if err := c.shared(); (err == nil) != (row.want == "") ||
			err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

// TestAClusterWithADeletedDirectoryIsNotWhole, though its process says that all is well.
func TestAClusterWithADeletedDirectoryIsNotWhole(t *testing.T) {
	all := []string{"r1 1 voter", "r2 2 voter", "r3 3 voter"}
	c := answering(t, map[string]status{"r1": sees("r1", all...), "r2": sees("r2", all...), "r3": sees("r3", all...)},
		"")
	if err := c.whole(); err != nil {
		t.Errorf("all is well: %v", err)
	}
	c.replicas[1].process = &process{}
	if p := c.replicas[1].deletes(); p == nil {
		t.Error("there is a process")
	}
	if err := c.whole(); err == nil {
		t.Error("with a deleted directory the cluster counts as whole")
	}
	c.replicas[1].replaced()
	if err := c.whole(); err != nil {
		t.Errorf("with a new disk: %v", err)
	}
}

func TestADirectoryIsDeletedWithAllThatIsInIt(t *testing.T) {
	s := &storage{dir: filepath.Join(t.TempDir(), "data")}
	if err := os.MkdirAll(filepath.Join(s.dir, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "wal", "segment"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.delete(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
}
