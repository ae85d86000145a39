package uplink_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/wechat/fake"
)

// TestCloneIsNotPushedTwice: a card is copied while the depot runs. What the original has
// pushed by the time that the clone comes to the centre is not pushed by that one, whether
// the centre had it when the card was copied or not; what the original did not push is.
func TestCloneIsNotPushedTwice(t *testing.T) {
	inTown(t, 1, uplink.Notify{}, fake.Options{}, func(w *town) {
		original := w.depots[0]
		w.wechat.SetDown(true)
		original.scan(scanOf(1, time.Now()), scanOf(2, time.Now())) // the centre takes them
		time.Sleep(time.Minute)
		original.scan(scanOf(3, time.Now()), scanOf(4, time.Now()))
		dir := w.copyOf(original)
		if c := original.outbox.Counts(); c.State[store.ToPush] == 0 || c.Watermark >= 3 {
			w.t.Fatalf("%+v", c)
		}
		w.wechat.SetDown(false)
		pushed := func(c store.Counts) uint64 { return c.State[store.Pushed] }
		for end := time.Now().Add(10 * time.Minute); pushed(original.outbox.Counts()) < 4 && time.Now().Before(end); {
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute) // the centre hears of it
		clone := w.openIn(dir, "another machine", 0, uplink.Notify{}, w.front, w.client(w.api))
		clone.scan(scanOf(5, time.Now()))
		ctx, cancel := context.WithCancel(w.t.Context())
		done := make(chan error, 1)
		go func() { done <- clone.up.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		for _, d := range []*depot{original, clone} {
			if c := d.outbox.Counts(); c.State[store.Pushed]+c.State[store.Superseded] != c.Received {
				w.t.Errorf("%v of %d", c.State, c.Received)
			}
		}
		if c := clone.outbox.Counts(); c.State[store.Superseded] != 4 || c.State[store.Pushed] != 1 {
			w.t.Errorf("the clone has %v", c.State)
		}
		if n := len(w.wechat.Pushes()); n != 5 {
			w.t.Errorf("5 events were pushed %d times", n)
		}
	})
}

// copyOf copies a depot's folder as it is at this moment.
func (w *town) copyOf(d *depot) (dir string) {
	w.t.Helper()
	dir = w.t.TempDir()
	files, err := filepath.Glob(filepath.Join(d.dir, "*"))
	for _, f := range files {
		content, bad := os.ReadFile(f)
		if bad == nil {
			bad = os.WriteFile(filepath.Join(dir, filepath.Base(f)), content, 0o600)
		}
		if bad != nil {
			err = bad
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return dir
}
