package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestFreshnessIsKeptByBarriersUnlessReadersMakeThem counts the barriers of a minute, one wanted every ten seconds.
func TestFreshnessIsKeptByBarriersUnlessReadersMakeThem(t *testing.T) {
	for name, tc := range map[string]struct {
		fails    int // so many of the first barriers
		confirms int // every so many seconds by readers, 0: never
		want     int
	}{
		"nobody reads":                     {0, 0, 6},
		"readers make them":                {0, 5, 1},
		"the first ones fail, and at once": {3, 0, 9}, // are tried again
		"all fail":                         {1000, 0, 60},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var f freshness
				barriers := 0
				done := make(chan struct{})
				go func() {
					defer close(done)
					f.keep(ctx, func(context.Context) error {
						if barriers++; barriers <= tc.fails {
							return errors.New("no leader")
						}
						f.confirm(time.Now())
						return nil
					}, 10*time.Second, time.Second)
				}()
				for second := range 59 {
					synctest.Wait()
					if tc.confirms > 0 && second%tc.confirms == 0 {
						f.confirm(time.Now())
					}
					<-time.After(time.Second)
				}
				<-time.After(time.Second / 2) // between two barriers
				cancel()
				<-done
				if barriers != tc.want {
					t.Errorf("%d barriers in a minute, want %d", barriers, tc.want)
				}
			})
		})
	}
}
