package expo

import "testing"

func TestAGroupsPathIsWrittenAsAPersonWould(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"/metrics/job/a":                                         {"job": "a"},
		"/metrics/job/z/instance/i/zone/eu":                      {"job": "z", "zone": "eu", "instance": "i"},
		"/metrics/job/a/path@base64/L3Zhci90bXA":                 {"job": "a", "path": "/var/tmp"},
		"/metrics/job/a/x@base64/=":                              {"job": "a", "x": ""},
		"/metrics/job/a/x@base64/Lg/y@base64/Li4/z/...":          {"job": "a", "x": ".", "y": "..", "z": "..."},
		"/metrics/job/a%20b/ort/%E6%9D%B1%E4%BA%AC/q/%3Fa%23%25": {"job": "a b", "ort": "東京", "q": "?a#%"},
		"/metrics/job/a/U__k8s_2e_io/v":                          {"job": "a", "k8s.io": "v"},
	} {
		if got := NewLabels(labels).Path(); got != want {
			t.Errorf("%v: want %s, got %s", labels, want, got)
		}
	}
}

func TestALinkToAGroupIsShortAndHoldsNoControlCharacters(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"/metrics/job/a/instance/h:9100":           {"job": "a", "instance": "h:9100"},
		"/metrics/job/a%20b/x@base64/YQpi":         {"job": "a b", "x": "a\nb"},
		"/metrics/job/a/x@base64/AA":               {"job": "a", "x": "\x00"},
		"/metrics/job/%E6%9D%B1":                   {"job": "東"},
		"/metrics/job@base64/5p2x5Lqs5p2x5Lqs/b/c": {"job": "東京東京", "b": "c"},
	} {
		if got := NewLabels(labels).LinkPath(func(name string) string { return name }); got != want {
			t.Errorf("%v: want %s, got %s", labels, want, got)
		}
	}
}

func TestAMessageListsWhatItHasRoomFor(t *testing.T) {
	for _, row := range []struct {
		items       []string
		total, room int
		want        string
	}{
		{[]string{"a"}, 1, 10, "a"},
		{[]string{"a", "b"}, 2, 10, "a, b"},
		{[]string{"a", "b"}, 14, 10, "a, b and 12 more"},
		{[]string{"aaaa", "bbbb", "cccc"}, 3, 10, "aaaa, bbbb and 1 more"},
		{[]string{"aaaaaaaaaaaaaaaa", "b"}, 2, 10, "aaaaaaaaaaaaaaaa and 1 more"},
	} {
		if got := Some(row.items, row.total, row.room); got != row.want {
			t.Errorf("%v of %d in %d bytes: want %q, got %q", row.items, row.total, row.room, row.want, got)
		}
	}
}
