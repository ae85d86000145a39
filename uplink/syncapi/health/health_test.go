package health_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"scanrelay/uplink/syncapi/health"
)

// TestBounded: each number that a report has comes within its bounds, so none was
// forgotten.
func TestBounded(t *testing.T) {
	zero, err := json.Marshal(health.Report{})
	if err != nil {
		t.Fatal(err)
	}
	numbers := regexp.MustCompile(`:0\b`)
	for in, want := range map[string]string{":9223372036854775807": ":1099511627776", ":1099511627776": ":1099511627776", ":7": ":7"} {
		var r health.Report
		if err := json.Unmarshal(numbers.ReplaceAll(zero, []byte(in)), &r); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(r.Bounded())
		if err != nil {
			t.Fatal(err)
		}
		if all := numbers.ReplaceAll(zero, []byte(want)); string(got) != string(all) {
			t.Errorf("of %s\n%s\nwant\n%s", in, got, all)
		}
	}
	r := health.Report{Pending: health.Pending{OldestSeconds: -1}, Store: health.Store{FileBytes: -1 << 63}}
	r.Alarms = []string{health.AlarmMQTTDown, "李四 13800138000"}
	if got := r.Bounded().Alarms; !slices.Equal(got, []string{health.AlarmMQTTDown, "unknown"}) {
		t.Errorf("alarms %q", got)
	}
	if r = r.Bounded(); r.Pending.OldestSeconds != 0 || r.Store.FileBytes != 0 {
		t.Errorf("%+v", r)
	}
}
