package limit

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogNamesEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 100
		var out bytes.Buffer
		l := NewLog(slog.New(slog.NewTextHandler(&out, nil)), time.Minute, most)
		want := func(when, what string, lines int) {
			t.Helper()
			if got := strings.Count(out.String(), what); got != lines {
				t.Errorf("%s: %d lines with %s, want %d", when, got, what, lines)
			}
			out.Reset()
		}
		both := func() {
			for range 10 {
				for _, who := range []string{"a", "b"} {
					l.Warn(who, "kind", "who", who)
				}
			}
		}
		both()
		want("two of them", "who=", 2)
		for i := range 10 * most {
			l.Warn(fmt.Sprint(i), "many")
		}
		if len(l.kinds) > most+1 {
			t.Errorf("%d are known", len(l.kinds))
		}
		want("too many of them", "many", most-1) // beside a and b, and once for all others
		both()
		want("within a minute", "who=", 0)
		time.Sleep(time.Minute)
		both()
		want("after a minute", "who=a more_since_last=19", 1)
		l.WarnOf("a", "kind", func() []any { t.Error("details are told of what is not logged"); return nil })
	})
}
