package directive

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBounds(t *testing.T) {
	long := strings.Repeat("版本", MaxText)
	for _, s := range []string{"", "short", strings.Repeat("a", MaxText), strings.Repeat("a", MaxText+1), long, "a" + long, "aa" + long} {
		got := Cut(s)
		if len(got) > MaxText || !utf8.ValidString(got) || len(s) <= MaxText && got != s || len(s) > MaxText && !strings.HasSuffix(got, "…") {
			t.Errorf("%.9s… of %d bytes is cut to %d: %q", s, len(s), len(got), got)
		}
	}
	sound := &Directives{Update: &Update{Version: "1.0.0", Rollout: "r"}, Config: &Config{Name: "c", SHA256: strings.Repeat("0", 64)}}
	if sound.Bounded() != sound || (*Directives)(nil).Bounded() != nil {
		t.Error("sound directives are not taken")
	}
	for _, d := range []*Directives{
		{Update: &Update{Version: strings.Repeat("1", MaxBytes+1)}}, {Update: &Update{Rollout: strings.Repeat("1", MaxBytes+1)}},
		{Config: &Config{Name: strings.Repeat("1", MaxBytes+1)}}, {Hold: true, Config: &Config{SHA256: strings.Repeat("1", MaxBytes+1)}},
	} {
		if d.Bounded() != nil {
			t.Error("directives without a bound are taken")
		}
	}
}
