package wait_test

import (
	"testing"
	"time"

	"scanrelay/configs/wait"
)

func TestRarelyCountsWhatItLeavesOut(t *testing.T) {
	r, now := wait.Rarely{Every: time.Minute}, time.Now()
	for i, want := range []struct {
		after time.Duration
		left  int
		due   bool
	}{{0, 0, true}, {time.Second, 0, false}, {59 * time.Second, 0, false}, {time.Minute, 2, true}, {2 * time.Minute, 0, true}} {
		if left, due := r.Due(now.Add(want.after)); left != want.left || due != want.due {
			t.Errorf("%d: due is %v with %d left out", i, due, left)
		}
	}
}
