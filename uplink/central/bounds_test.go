package central

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestOverload: a sync that finds no place for long is told to come again.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places := make(chan struct{}, 1)
		release, err := take(t.Context(), places)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var r *refusal
		if _, err := take(t.Context(), places); !errors.As(err, &r) || r.status != http.StatusServiceUnavailable || time.Since(start) != slotWait {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		release()
		if _, err := take(t.Context(), places); err != nil {
			t.Fatal(err)
		}
	})
}

// TestReportWaitIsBounded: a sync does not wait for ever for WeChat.
func TestReportWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, done := time.Now(), make(chan struct{})
		waitFor(t.Context(), done, reportWait)
		if took := time.Since(start); took != reportWait {
			t.Errorf("waited %s", took)
		}
		close(done)
		waitFor(t.Context(), done, reportWait)
		waitFor(t.Context(), nil, reportWait)
		if took := time.Since(start); took != reportWait {
			t.Errorf("waited %s for nothing", took-reportWait)
		}
	})
}
