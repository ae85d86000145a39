package quarantine

import (
	"reflect"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

// FuzzDecodeReject: no bytes make it panic, and what it accepts is what was
// encoded.
func FuzzDecodeReject(f *testing.F) {
	r := scan.Reject{Topic: "scans/1", Payload: []byte{0, 1}, Index: 2, Code: "not_json", Reason: "why", ReceivedAt: time.Unix(1, 0)}
	f.Add(encode(&r)[1:])
	r.Clockless = &scan.BootTime{Boot: "b", Since: time.Minute}
	f.Add(encode(&r)[1:])
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decode(body)
		if err != nil || len(got.Reason) > 512 {
			return
		}
		if again, err := decode(encode(&got)[1:]); err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%v\n%#v\n%#v", err, got, again)
		}
	})
}
