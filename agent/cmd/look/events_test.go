package look

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNewestAreShown: of many lines the newest that are asked for, in their order.
func TestNewestAreShown(t *testing.T) {
	for _, row := range []struct {
		lines, limit int
		waybill      string
		want         string
	}{
		{0, 3, "", ""}, {2, 3, "", "0 1 "}, {3, 3, "", "0 1 2 "}, {7, 3, "", "4 5 6 "}, {3000, 2, "", "2998 2999 "}, {3, 0, "", "0 1 2 "}, {9, 2, "yt1", "5 7 "}, {4, 0, "YT0", "0 2 "},
	} {
		l := &looker{shared: &shared{}, pick: pick{limit: row.limit, waybill: row.waybill}}
		got := ""
		err := l.through(func(each func(json.RawMessage) error) error {
			line := []byte{} // used again, as a stream does
			for i := range row.lines {
				line = fmt.Appendf(line[:0], `{"id":"%d","waybill_id":"YT%d"}`, i, i%2)
				if err := each(line); err != nil {
					return err
				}
			}
			return nil
		}, func(line json.RawMessage) error {
			got += strings.Split(string(line), `"`)[3] + " "
			return nil
		})
		if err != nil || got != row.want {
			t.Errorf("%+v: %s, %v", row, got, err)
		}
	}
}

// TestLimitIsBounded: its lines are kept in memory.
func TestLimitIsBounded(t *testing.T) {
	for limit, ok := range map[int]bool{-1: false, maxPicked: true, maxPicked + 1: false} {
		l := &looker{shared: &shared{}, pick: pick{limit: limit}}
		err := l.through(func(func(json.RawMessage) error) error { return nil }, nil)
		if (err == nil) != ok {
			t.Errorf("%d: %v", limit, err)
		}
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"": "0001-01-01T00:00:00Z", "2h": "2026-11-30T06:00:00Z", "7d": "2026-11-23T08:00:00Z", "2026-11-30T08:00:00+08:00": "2026-11-30T08:00:00+08:00",
		"0": "", "-1h": "", "yesterday": "", "2026-11-30": "", "99999999d": "",
	} {
		at, err := (&pick{since: in}).from(now)
		if got := at.Format(time.RFC3339); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}
