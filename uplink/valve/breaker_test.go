package valve

import "testing"

func TestLookupsWindow(t *testing.T) {
	var r lookups
	for i := range 100 {
		r.add(i%2 == 0)
	}
	if r.failed() != 10 {
		t.Errorf("%d of the last 20 failed, want 10", r.failed())
	}
	for range 20 {
		r.add(false)
	}
	if r.failed() != 0 {
		t.Errorf("%d of the last 20 failed, want 0", r.failed())
	}
}
