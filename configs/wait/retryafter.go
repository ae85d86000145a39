package wait

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter reads how long an answer with these headers asks to wait, at most
// limit; 0 where it does not say, or makes no sense. Retry-After is seconds or a
// date. A date counts from the answer's own Date: a gateway's clock may be years
// off.
func RetryAfter(h http.Header, limit time.Duration) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, limit)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return min(max(at.Sub(from), 0), limit)
}
