package snapshot_test

import (
	"testing"

	"scanrelay/store/snapshot"
)

func TestNormalizePhone(t *testing.T) {
	for in, want := range map[string]string{
		"13800138000": "13800138000", "+86 138-0013-8000": "13800138000", "008613800138000": "13800138000",
		"(010) 8888 8888": "01088888888", "": "", "+1 555": "+1555",
	} {
		if got := snapshot.NormalizePhone(in); got != want {
			t.Errorf("NormalizePhone(%q) = %q, want %q", in, got, want)
		}
	}
}
