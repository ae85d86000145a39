package mapping_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/intake/mapping"
)

// What one message of a hostile device costs is bounded: neither elements times what is
// around them nor elements times the numbers there.
func TestWorkOfOneMessageIsBounded(t *testing.T) {
	var around, numbers strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&around, `"k%d":%d,`, i, i)
	}
	for i := range 40_000 {
		fmt.Fprintf(&numbers, `,{"n":"%d"}`, i)
	}
	elements := "[" + strings.Repeat("{},", 4000) + "{}]"
	for name, c := range map[string]struct{ payload, split, waybill string }{
		"keys around":    {"{" + around.String() + `"reads":` + elements + "}", "/reads", "/code"},
		"numbers around": {`{"reads":` + elements + `,"all":[{"n":"1"}` + numbers.String() + "]}", "/reads", "/all/*/n"},
		"from the root":  {`{"reads":` + elements + `,"all":[{"n":"1"}` + numbers.String() + "]}", "/reads", "/*/*/n"},
	} {
		t.Run(name, func(t *testing.T) {
			m := testMapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "scans/#", Decoder: "json", Split: c.split, Fields: map[string]string{"waybill_id": c.waybill}}}}, noon)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			began := worked(t)
			b := m.Map("scans/a", []byte(c.payload), mapping.Info{})
			if len(b.Events) > 0 || len(b.Rejects) != 1 {
				t.Errorf("%d events, %d rejected", len(b.Events), len(b.Rejects))
			}
			if took := worked(t) - began; took > 20*time.Second {
				t.Errorf("it took %v", took)
			} else {
				t.Log(took, b.Rejects[0].Code, b.Rejects[0].Reason)
			}
		})
	}
}

// worked is the processor's time that this thread has had: what else the machine does
// adds nothing to it.
func worked(t *testing.T) time.Duration {
	t.Helper()
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
