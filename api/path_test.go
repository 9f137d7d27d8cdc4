package api

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
)

func TestPathsNameGroups(t *testing.T) {
	type labels = map[string]string
	for name, test := range map[string]struct {
		path string
		want labels // nil: a bad request
		utf8 bool
		says string
	}{
		"a job":              {path: "/metrics/job/a", want: labels{"job": "a"}},
		"a slash at the end": {path: "/metrics/job/a/", want: labels{"job": "a"}},
		"labels": {path: "/metrics/job/a/b/c/d/e", want: labels{
			"job": "a", "b": "c",
			"d": "e",
		}},
		"escapes": {
			path: "/metrics/job/a%20b/c/%F0%9F%92%A9%0A%00",
			want: labels{"job": "a b", "c": "💩\n\x00"},
		},
		"a slash after a value":             {path: "/metrics/job/a/b/c/", want: labels{"job": "a", "b": "c"}},
		"an encoded slash at the end":       {path: "/metrics/job/a/b/c%2F", want: labels{"job": "a", "b": "c"}},
		"a slash twice before /metrics":     {path: "//metrics/job/a/b/c", want: labels{"job": "a", "b": "c"}},
		"slashes everywhere before the job": {path: "///metrics//job/a", want: labels{"job": "a"}},
		"the same, with base64":             {path: "//metrics//job@base64/YQ", want: labels{"job": "a"}},
		"a query":                           {path: "/metrics/job/a?b=c", want: labels{"job": "a"}},
		"base64 job, padded":                {path: "/metrics/job@base64/YQ==", want: labels{"job": "a"}},
		"base64 job, not padded":            {path: "/metrics/job@base64/YQ", want: labels{"job": "a"}},
		"base64 value with slashes": {
			path: "/metrics/job/a/b@base64/L3Zhci90bXA",
			want: labels{"job": "a", "b": "/var/tmp"},
		},
		"base64 of the URL alphabet": {path: "/metrics/job/a/b@base64/7u-_vg", says: "UTF-8"},
		"base64 empty value":         {path: "/metrics/job/a/b@base64/=", want: labels{"job": "a", "b": ""}},
		"a dot in base64": {
			path: "/metrics/job@base64/Lg/b@base64/Li4",
			want: labels{"job": ".", "b": ".."},
		},
		"dots in a name": {
			path: "/metrics/job/a../b/..c/d/.e",
			want: labels{"job": "a..", "b": "..c", "d": ".e"},
		},
		"a repeated label":               {path: "/metrics/job/a/b/c/b/d", want: labels{"job": "a", "b": "d"}},
		"a bad value that is overridden": {path: "/metrics/job/a/b/%ff/b/d", want: labels{"job": "a", "b": "d"}},
		"a label job does not win":       {path: "/metrics/job/a/job/b", want: labels{"job": "a"}},
		"%2F does not hide a slash":      {path: "/metrics/job/a%2Fb%2Fc", want: labels{"job": "a", "b": "c"}},
		"an escaped dot is a name":       {path: "/metrics/job/%2e%2e", want: labels{"job": ".."}},
		"an escaped dot is a value":      {path: "/metrics/job/a/b/%2e", want: labels{"job": "a", "b": "."}},
		"U__ is a plain name by default": {
			path: "/metrics/job/a/U__b_2e_c/d",
			want: labels{"job": "a", "U__b_2e_c": "d"},
		},
		"U__ is unescaped for UTF-8 names": {
			path: "/metrics/job/a/U__b_2e_c__d/e",
			want: labels{"job": "a", "b.c_d": "e"}, utf8: true,
		},
		"U__ with base64": {
			path: "/metrics/job/a/U__b_2e_c@base64/ZA",
			want: labels{"job": "a", "b.c": "d"}, utf8: true,
		},
		"an invalid escape is kept": {
			path: "/metrics/job/a/U__b_2e/c",
			want: labels{"job": "a", "U__b_2e": "c"}, utf8: true,
		},
		"an UTF-8 name as it is": {
			path: "/metrics/job/a/b.c/d", want: labels{"job": "a", "b.c": "d"},
			utf8: true,
		},
		"an escaped label job does not win": {path: "/metrics/job/a/U__job/b", want: labels{"job": "a"}, utf8: true},

		"an empty value at the end":      {path: "/metrics/job/a/b/", want: labels{"job": "a", "b": ""}},
		"base64 empty value, at the end": {path: "/metrics/job/a/b@base64/", want: labels{"job": "a", "b": ""}},
		"a slash after an empty value":   {path: "/metrics/job/a/b/c/d//", want: labels{"job": "a", "b": "c", "d": ""}},
		"an odd number":                  {path: "/metrics/job/a/b", says: "odd number of components"},
		"an odd number of many": {
			path: "/metrics/job/a/b/c/d",
			says: `odd number of components in label string "/b/c/d"`,
		},
		"an odd number, %2F":      {path: "/metrics/job/a%2Fb", says: "odd number of components"},
		"an empty job":            {path: "/metrics/job@base64/=", says: "job name is required"},
		"an empty job before %2F": {path: "/metrics/job/%2Fb/c", says: "job name is required"},
		"an empty job before a label": {
			path: "/metrics/job//instance/h",
			says: `job name is required, and is empty in "/metrics/job//instance/h": ` +
				"a shell variable was probably empty; only of other labels the value may be empty, " +
				"and is then written " +
				"<label>@base64/=",
		},
		"nothing but an empty job":     {path: "/metrics/job/", says: "job name is required"},
		"an empty job and a slash":     {path: "/metrics/job//", says: "job name is required"},
		"an empty job, in base64":      {path: "/metrics/job@base64//b/c", says: "job name is required"},
		"an empty value in the middle": {path: "/metrics/job/a/b//c/d", says: `the value of label "b" is empty`},
		"an empty value, %2F":          {path: "/metrics/job/a/b%2F%2Fc/d", says: `the value of label "b" is empty`},
		"an empty name after the job": {
			path: "/metrics/job/a//b/c",
			says: `the name of a label is empty, after "a" in "/metrics/job/a//b/c": a shell variable was probably ` +
				`empty, or a slash is one too many; an empty value is written <label>@base64/=`,
		},
		"an empty name after a value": {
			path: "/metrics/job/a/b/c//d",
			says: `the name of a label is empty, after "c"`,
		},
		"two slashes at the end":      {path: "/metrics/job/a/b/c//", says: `the name of a label is empty, after "c"`},
		"a newline where it is empty": {path: "/metrics/job/a/b%0A//c/d", says: `the value of label "b\n" is empty`},
		"two dots for a value": {
			path: "/metrics/job/a/path/..",
			says: `the component ".." of the path "/metrics/job/a/path/.." stands for a directory, and clients and ` +
				`proxies take it out: write a value that is ".." as <label>@base64/Li4`,
		},
		"a dot for a value":     {path: "/metrics/job/a/path/.", says: `as <label>@base64/Lg`},
		"dots for a job":        {path: "/metrics/job/..", says: `stands for a directory`},
		"dots in the middle":    {path: "/metrics/job/a/../b", says: `stands for a directory`},
		"dots before the job":   {path: "/metrics/../metrics/job/a", says: `stands for a directory`},
		"a dot before /metrics": {path: "/./metrics/job/a", says: `stands for a directory`},
		"base64 of the other alphabet": {
			path: "/metrics/job/a/b@base64/ZHA+",
			says: `label b="ZHA+": a path takes the URL-safe alphabet, with - for + and _ for /: write ZHA-` + "\n",
		},
		"the same in the job, padded": {
			path: "/metrics/job@base64/ZHA+Pw==",
			says: `job name "ZHA+Pw==": a path takes the URL-safe alphabet, with - for + and _ for /: write ZHA-Pw` +
				"\n",
		},
		"base64 that is cut off": {
			path: "/metrics/job@base64/Y",
			says: `job name "Y": it has 1 characters, which make no whole number of bytes`,
		},
		"longer base64 that is cut": {
			path: "/metrics/job/a/b@base64/L3Zhc",
			says: `label b="L3Zhc": it has 5 characters, which make no whole number of bytes`,
		},
		"what is not base64": {
			path: "/metrics/job/a/b@base64/*",
			says: `label b="*": '*' is not in the URL-safe alphabet`,
		},
		"a value as it is": {
			path: "/metrics/job/a/instance@base64/host.example",
			says: `'.' is not in the URL-safe alphabet (A-Z, a-z, 0-9, - and _); write a value as it is without ` +
				`@base64`,
		},
		"base64 that goes on": {
			path: "/metrics/job/a/b@base64/YQ==YQ==",
			says: "followed by something else after 2 characters",
		},
		"base64 that is not UTF-8":  {path: "/metrics/job/a/b@base64/%ff", says: `label b="\xff": '�' is not in`},
		"base64 with a line break":  {path: "/metrics/job/a/b@base64/Y%1b%0a", says: `'\x1b' is not in`},
		"a reserved name":           {path: "/metrics/job/a/__b/c", says: `improper label name "__b"`},
		"a name with a digit first": {path: "/metrics/job/a/0b/c", says: `improper label name "0b"`},
		"an empty name":             {path: "/metrics/job/a/@base64/YQ", says: `improper label name ""`},
		"an empty name, UTF-8":      {path: "/metrics/job/a/U__/b", says: `improper label name "U__"`, utf8: true},
		"a reserved name, escaped": {
			path: "/metrics/job/a/U___5f__5f_name/b", says: "improper label name",
			utf8: true,
		},
		"an UTF-8 name without a flag": {path: "/metrics/job/a/b.c/d", says: `improper label name "b.c"`},
		"a name that is not UTF-8":     {path: "/metrics/job/a/%ff/d", says: "improper label name", utf8: true},
		"a value that is not UTF-8":    {path: "/metrics/job/a/b@base64/__4", says: "UTF-8"},
		"a job that is not UTF-8":      {path: "/metrics/job@base64/__4", says: "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, func(c *Config) { c.UTF8Names = test.utf8 })
			a := g.do("PUT", test.path, "")
			if test.want == nil {
				if a.code != http.StatusBadRequest || !strings.Contains(a.body, test.says) ||
					strings.Count(a.body, "\n") != 1 {
					t.Errorf("want 400 and one line with %q, got %d: %q", test.says, a.code, a.body)
				}
				if d := g.do("DELETE", test.path, ""); d.code != a.code || d.body != a.body {
					t.Errorf("DELETE: want the same, got %d: %q", d.code, d.body)
				}
				if n := g.replica.applied(); n != 0 {
					t.Errorf("%d commands were replicated, want none", n)
				}
				return
			}
			if a.code != http.StatusOK {
				t.Fatalf("want 200, got %d: %s", a.code, a.body)
			}
			for group := range g.replica.View().Groups() {
				if got := group.Labels().Map(); !maps.Equal(got, test.want) {
					t.Errorf("want group %v, got %v", test.want, got)
				}
			}
			g.must(http.StatusAccepted, "DELETE", test.path, "")
			if n := g.replica.View().Len(); n != 0 {
				t.Errorf("%d groups are left, want none", n)
			}
		})
	}
}

func TestSlashesMayBeDoubledInTheRoutePrefix(t *testing.T) {
	g := start(t, func(c *Config) { c.RoutePrefix = "/some/prefix" })
	for _, path := range []string{
		"/some/prefix//metrics/job/a/b/c", "//some//prefix/metrics/job/a/b/c",
		"/some/prefix/metrics/job/a/b/c/",
	} {
		g.must(http.StatusOK, "PUT", path, "x 1\n")
		g.must(http.StatusAccepted, "DELETE", path, "")
		if n := g.replica.View().Len(); n != 0 {
			t.Errorf("%s: %d groups are left, want none", path, n)
		}
	}
	for _, path := range []string{
		"//metrics/job/a", "/some/prefixmetrics/job/a", "/prefix/some/metrics/job/a",
		"/some/prefix/metricsjob/a",
	} {
		g.must(http.StatusNotFound, "PUT", path, "x 1\n")
	}
}

// FuzzPath decodes any path. One that is accepted names a group that can be stored, and that the path made for it
// names, too.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		"a", "a/", "a/b", "a/b/c", "a/b/", "/b/c", "a/b@base64/L3Zhci90bXA", "a/b@base64/=", "a/b@base64/__4",
		"a/__name__/b", "a/job/b",
		"a/U__b_2e_c/d", "a/U__b_2e/c", "a/U___5f__5f_x/y", "a/U__job/b", "a/b:c/d", "a/\xff/d", "a/b/\x00\n", "YQ==",
		"a/@base64/YQ", "a/b/c/b/d", "a/U___b#c/", "a/U__U____b__2e__c/d",
	} {
		for _, base64Job := range []bool{false, true} {
			for _, utf8 := range []bool{false, true} {
				f.Add(seed, base64Job, utf8)
			}
		}
	}
	f.Fuzz(func(t *testing.T, path string, base64Job, utf8 bool) {
		n := naming{scheme: model.LegacyValidation, escaping: model.NoEscaping}
		if utf8 {
			n = naming{scheme: model.UTF8Validation, escaping: model.ValueEncodingEscaping}
		}
		group, err := groupPath{prefix: "/metrics/job/", base64Job: base64Job, naming: n}.labels("/metrics/job/" + path)
		if err != nil {
			return
		}
		if err := group.Validate(n.scheme); err != nil {
			t.Fatalf("%q is accepted as %s: %v", path, group, err)
		}
		if job, _ := group.Get("job"); job == "" {
			t.Fatalf("%q is accepted as %s, without a job", path, group)
		}
		made := n.pathOf(group)
		u, err := url.Parse("http://h" + made)
		if err != nil || u.EscapedPath() != made {
			t.Fatalf("%s is named by %q, which cannot stand in a URL: %v", group, made, err)
		}
		g := groupPath{prefix: "/metrics/job/", naming: n}
		if _, plain := g.below(u.Path); !plain {
			g = groupPath{prefix: "/metrics/job@base64/", base64Job: true, naming: n}
		}
		again, err := g.labelsOf(u)
		if err != nil || again.Key() != group.Key() {
			t.Fatalf("%s is named by %q, which is decoded as %s, %v", group, made, again, err)
		}
	})
}
