package judge_test

import (
	"fmt"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
)

// TestLost: whose word shows that a store was put back, and of which time it then
// knows nothing.
func TestLost(t *testing.T) {
	type word struct {
		depot     scan.DepotID
		last, now int64 // the last event of it, and when it says so
		want      judge.Heard
	}
	for name, c := range map[string]struct {
		words   []word
		alone   bool
		missing judge.Period
	}{
		"two":           {[]word{{"a", 10, 50, judge.Claimed}, {"b", 20, 60, judge.PutBack}}, false, judge.Period{From: 20, To: 50}},
		"one, again":    {[]word{{"a", 10, 50, judge.Claimed}, {"a", 10, 60, judge.Nothing}, {"a", 60, 70, judge.Claimed}}, false, judge.Period{}},
		"alone":         {[]word{{"a", 10, 50, judge.PutBack}}, true, judge.Period{From: 10, To: 50}},
		"unknown":       {[]word{{"a", 0, 50, judge.Nothing}, {"b", 0, 50, judge.Nothing}}, true, judge.Period{}},
		"of two times":  {[]word{{"a", 10, 50, judge.Claimed}, {"b", 60, 70, judge.Claimed}}, false, judge.Period{}},
		"explained":     {[]word{{"a", 10, 50, judge.PutBack}, {"b", 5, 90, judge.Nothing}}, true, judge.Period{From: 10, To: 50}},
		"a second time": {[]word{{"a", 10, 50, judge.PutBack}, {"a", 70, 90, judge.PutBack}}, true, judge.Period{From: 10, To: 90}},
		"clock set back": {[]word{{"a", 50, 10, judge.Claimed}, {"b", 50, 20, judge.PutBack}}, false,
			judge.Period{From: 50, To: 51}},
	} {
		var l judge.Lost
		for _, w := range c.words {
			var d *judge.Numbering
			if w.last != 0 {
				d = &judge.Numbering{Epochs: []judge.Epoch{{Epoch: 1, At: w.last}}}
			}
			if got, err := l.Hear(w.depot, d, w.now, func() (bool, error) { return c.alone, nil }); got != w.want || err != nil {
				t.Errorf("%s: %+v comes to %v, %v", name, w, got, err)
			}
		}
		if l.Missing != c.missing {
			t.Errorf("%s: missing %+v, want %+v", name, l.Missing, c.missing)
		}
	}
	l := judge.Lost{Missing: judge.Period{From: 1, To: 5}, Claims: map[scan.DepotID]judge.Period{"a": {From: 1, To: 6}, "b": {From: 1, To: 9}}}
	if !l.Forget(8) || l.Forget(8) || fmt.Sprint(l) != "{{0 0} map[b:{1 9}]}" {
		t.Errorf("left %v", l)
	}
}
