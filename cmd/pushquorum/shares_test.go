package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestSharesFollowFromTheMachine(t *testing.T) {
	for _, row := range []struct {
		memory, descriptors int64
		want                shares
	}{
		{0, 0, shares{0, 0, 256 << 20, 4096}},
		{0, 128, shares{0, 0, 256 << 20, 64}},
		{64 << 20, 1024, shares{8 << 20, 16 << 20, 8 << 20, 256}},
		{128 << 20, 1 << 20, shares{16 << 20, 32 << 20, 16 << 20, 512}},
		{256 << 20, 1 << 20, shares{48 << 20, 64 << 20, 32 << 20, 1024}},
		{4 << 30, 1 << 20, shares{1008 << 20, 1 << 30, 512 << 20, 4096}},
		{1 << 40, 10, shares{(1<<40 - 64<<20) / 4, 256 << 30, 1 << 30, 16}},
	} {
		if got := sharesOf(row.memory, row.descriptors); got != row.want {
			t.Errorf("%d bytes and %d descriptors: %+v, want %+v", row.memory, row.descriptors, got, row.want)
		}
	}
	if n := maxDescriptors(); n <= 0 {
		t.Errorf("there are %d descriptors", n)
	}
}

func TestAFlagCountsInsteadOfAShare(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	o, err := parseOptions([]string{
		"--limit.state-bytes=5MB", "--web.max-page-bytes=0", "--push.max-bytes-in-flight=6MB",
		"--web.max-connections=70",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.share(256<<20, 1<<20, logger); err != nil {
		t.Fatal(err)
	}
	if want := (shares{5 << 20, 0, 6 << 20, 70}); o.limits != want || o.cluster.Limits.StateBytes != 5<<20 ||
		o.maxPushes != 52 {
		t.Errorf("%+v, want %+v; the state may take %d bytes, and there may be %d pushes", o.limits, want,
			o.cluster.Limits.StateBytes, o.maxPushes)
	}
	if err := o.share(256<<20, 70, logger); err == nil || !strings.Contains(err.Error(), "--web.max-connections=70") {
		t.Errorf("all descriptors for connections: %v", err)
	}
}
