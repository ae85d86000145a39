package wait

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads 30s, 24h, 7d, 1d12h and the like; only 0 needs no unit.
func ParseDuration(text string) (time.Duration, error) {
	rest, days := strings.TrimSpace(text), 0
	if n, more, ok := strings.Cut(rest, "d"); ok {
		var err error
		if days, err = strconv.Atoi(n); err != nil || days < 0 || days > maxDays {
			return 0, badDuration(text)
		}
		rest = cmp.Or(more, "0")
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days > 0 && d < 0 || d > maxDays*24*time.Hour {
		return 0, badDuration(text)
	}
	return time.Duration(days)*24*time.Hour + d, nil
}

const maxDays = 50_000 // what two of fit into a time.Duration

func badDuration(text string) error {
	return fmt.Errorf("%q is no duration; write one as 30s, 15m, 24h or 7d", text)
}
