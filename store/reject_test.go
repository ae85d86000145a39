package store

import (
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func FuzzDecodeReject(f *testing.F) {
	r := scan.Reject{Topic: "scans/1", Payload: []byte{0, 1}, Index: 2, Code: "not_json", Reason: "why", ReceivedAt: time.Unix(1, 0)}
	f.Add(encodeReject(&r)[1:])
	f.Fuzz(func(_ *testing.T, body []byte) {
		_, _ = decodeReject(body)
	})
}
