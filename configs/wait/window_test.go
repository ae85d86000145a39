package wait

import (
	"strings"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	for text, open := range map[string]string{
		"": "00:00 01:00 05:00 23:59", "00:00-24:00": "00:00 00:59 01:00 04:59 05:00 22:29 22:30 23:59", "22:30-24:00": "22:30 23:59", "01:00-05:00": "01:00 04:59", " 22:30 - 05:00 ": "00:00 00:59 01:00 04:59 22:30 23:59",
	} {
		w, err := ParseWindow(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for _, at := range []string{"00:00", "00:59", "01:00", "04:59", "05:00", "22:29", "22:30", "23:59"} {
			moment, err := time.ParseInLocation("2006-01-02 15:04", "2026-12-01 "+at, time.Local)
			if err != nil {
				t.Fatal(err)
			}
			if want := text == "" || strings.Contains(open, at); w.Open(moment) != want {
				t.Errorf("%q is open at %s: %v", text, at, !want)
			}
		}
		if again, err := ParseWindow(w.String()); err != nil || again != w {
			t.Errorf("%q reads as %v, %v", w, again, err)
		}
	}
	for _, text := range []string{"01:00", "01:00-", "1-5", "01:00-01:00", "01:00-24:01", "24:00-01:00", "25:00-01:00", "01:00-05:00-06:00", "always"} {
		if w, err := ParseWindow(text); err == nil {
			t.Errorf("%q is %v", text, w)
		}
	}
}
