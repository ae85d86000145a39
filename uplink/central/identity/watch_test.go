package identity

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/uplink/central/internal/documents"
)

// TestStoreGoesBack: a store that goes back under running centres lets nobody in who was
// revoked since, for longer than a moment: also where the process is gone that revoked it,
// once another has heard of it. What was done since is left.
func TestStoreGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := documents.New(nil)
		process := func() *Service {
			shared, err := OpenShared(t.Context(), table)
			if err != nil {
				t.Fatal(err)
			}
			s := service(t, shared, OpenEnded(t.TempDir()), time.Time{})
			s.o.Now = time.Now
			return s
		}
		one, two := process(), process()
		state := func() string {
			t.Helper()
			r, err := one.Registration(t.Context(), "hz-01")
			if err != nil || r == nil {
				t.Fatal(err)
			}
			return r.State()
		}
		i, err := one.Add(t.Context(), Actor{}, Depot{ID: "hz-01"})
		if err == nil {
			err = enrol(t, one, i.Token)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := table.All()
		back := func() {
			for name, doc := range before {
				table.Change(name, func([]byte) []byte { return doc })
			}
		}
		ctx, end := context.WithCancel(t.Context())
		first, cancel := context.WithCancel(ctx)
		defer end()
		defer cancel()
		go one.Watch(first)
		go two.Watch(ctx)
		time.Sleep(time.Second)
		if err := one.Revoke(t.Context(), Actor{}, "hz-01", "stolen"); err != nil {
			t.Fatal(err)
		}
		for _, heard := range []time.Duration{0, 2 * learnEvery} {
			time.Sleep(heard)
			if back(); state() != "enrolled" {
				t.Fatal("it did not go back")
			}
			if time.Sleep(5 * time.Second); state() != "revoked" {
				t.Errorf("after %v the depot is let in", heard)
			}
			cancel() // of the second the other knows
		}
		time.Sleep(time.Second)
		if i, err = one.Reset(t.Context(), Actor{}, "hz-01"); err == nil {
			err = enrol(t, one, i.Token)
		}
		if time.Sleep(2 * learnEvery); err != nil || state() != "enrolled" {
			t.Errorf("enrolled since, it is %s, %v", state(), err)
		}
	})
}
