package cli

import (
	"fmt"
	"time"
)

// Moment shows unix seconds to people, in local time; "-" where they are 0.
func Moment(unix int64) string {
	if unix == 0 {
		return "-"
	}
	return time.Unix(unix, 0).Format(time.RFC3339)
}

// Dash is a text, or "-" where there is none: an empty cell could be overlooked.
func Dash(s string) string { return Word(s != "", s, "-") }

// Word is one of two texts.
func Word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// Because is a state with its reason, if there is one.
func Because(state, why string) string {
	if why == "" {
		return state
	}
	return state + ": " + why
}

// Size is a number of bytes for people.
func Size(bytes int64) string {
	for _, u := range []struct {
		unit int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if bytes >= u.unit {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(u.unit), u.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}
