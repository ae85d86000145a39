package wait

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, " 7d ": 168 * time.Hour, "1d12h30m": 36*time.Hour + 30*time.Minute, "0d": 0, "-5s": -5 * time.Second, "50000d": 1_200_000 * time.Hour,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "d", "7", "-1d", "1d-1h", "1.5d", "1d1d", "50001d", "9999999h", "1 d", "1w", "99999999999999999999d"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q is read as %v", in, got)
		}
	}
}
