package uplink_test

import (
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/wechat"
)

// The two packages must not know each other, so each has its list of WeChat's
// twenty codes: a code that one takes and the other refuses would be stored and
// never pushed.
func TestActionTypesAgree(t *testing.T) {
	known := 0
	for code := -1; code < 1_000_000; code++ {
		ours, theirs := scan.ActionType(code).Check() == nil, wechat.KnownAction(code)
		if ours != theirs {
			t.Errorf("action_type %d: known to scan %v, to wechat %v", code, ours, theirs)
		}
		if ours {
			known++
		}
	}
	if known != 20 {
		t.Errorf("%d codes, WeChat has 20", known)
	}
}
