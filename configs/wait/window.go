package wait

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Window is a part of each day by local time, written 01:00-05:00; it may go over midnight
// and end with it, at 24:00. The zero Window is all day.
type Window struct {
	From, To time.Duration // since midnight, as clocks show it
}

// String writes it as ParseWindow reads it.
func (w Window) String() string {
	if w == (Window{}) {
		return ""
	}
	at := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", d/time.Hour, d%time.Hour/time.Minute) }
	return at(w.From) + "-" + at(w.To)
}

// Open reports whether a moment lies in it, by the machine's local time.
func (w Window) Open(at time.Time) bool { return w.At(at.Local()) }

// At is Open by the clock of the place that the moment is of.
func (w Window) At(at time.Time) bool {
	h, m, s := at.Clock()
	now := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second
	if w.From < w.To {
		return w.From <= now && now < w.To
	}
	return w == Window{} || now >= w.From || now < w.To
}

// ParseWindow reads 01:00-05:00; "" is all day.
func ParseWindow(text string) (w Window, err error) {
	if text = strings.TrimSpace(text); text == "" {
		return w, nil
	}
	from, to, _ := strings.Cut(text, "-")
	if to = strings.TrimSpace(to); to == "24:00" {
		if to = "00:00"; strings.TrimSpace(from) == to {
			return w, nil // all day, as it can be written as well
		}
	}
	begin, err := time.Parse("15:04", strings.TrimSpace(from))
	end, err2 := time.Parse("15:04", to)
	if errors.Join(err, err2) != nil || begin.Equal(end) {
		return w, fmt.Errorf("%q is no part of a day; write one as 01:00-05:00, local time", text)
	}
	midnight := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	return Window{begin.Sub(midnight), end.Sub(midnight)}, nil
}
