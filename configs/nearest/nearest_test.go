package nearest

import "testing"

func TestNearest(t *testing.T) {
	if got := nearest("brocker", []string{"listen", "broker", "brokers"}); got != "broker" {
		t.Error(got)
	}
}
