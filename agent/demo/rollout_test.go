package demo

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestRollout: a good release reaches all, a bad one is halted and goes back, at a real
// centre, as the demo shows them.
func TestRollout(t *testing.T) {
	for name, want := range map[string]string{Good: "It has reached ", Bad: "and nobody runs it any more"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			o, err := (Options{Duration: 5 * time.Minute, Rollout: name, Depots: 60, Listen: listen(t), Out: &out}).withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			s := newShow(o, t.TempDir())
			s.round, s.rings, s.look = 100*time.Millisecond, []float64{1}, 0
			err = s.run(context.Background())
			if t.Log(out.String()); err != nil || !strings.Contains(out.String(), want) {
				t.Error(err)
			}
		})
	}
}
