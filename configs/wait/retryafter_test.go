package wait_test

import (
	"net/http"
	"testing"
	"time"

	"scanrelay/configs/wait"
)

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "12": 12 * time.Second, " 3 ": 3 * time.Second, "-3": 0, "1.5": 0, "soon": 0,
		"99999999999999999999": 0, "90000": time.Hour,
		"Mon, 23 Nov 2026 08:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 07:00:00 GMT": 0,
		"Mon, 23 Nov 2099 07:00:00 GMT": time.Hour,
	} {
		h := http.Header{"Retry-After": {value}, "Date": {"Mon, 23 Nov 2026 08:00:00 GMT"}}
		if got := wait.RetryAfter(h, time.Hour); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	soon := http.Header{"Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}
	if got := wait.RetryAfter(soon, 24*time.Hour); got < 58*time.Minute || got > time.Hour {
		t.Errorf("a date beside no Date: %v", got)
	}
}
