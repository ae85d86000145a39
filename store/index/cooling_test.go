package index

import "testing"

// TestTriesAreBounded: how often a cooled event was tried is known up to the bound, which
// stands for all above it, and takes nothing from another event's.
func TestTriesAreBounded(t *testing.T) {
	m := newMemory(10)
	for n := range 2 * maxTries {
		m.setTries(1, n)
		m.setTries(2, maxTries-min(n, maxTries))
		if got := m.tries(1); got != min(n, 7) {
			t.Errorf("%d tries are known as %d", n, got)
		}
	}
	if got := m.tries(2); got != 0 {
		t.Errorf("of another event %d are known", got)
	}
}
