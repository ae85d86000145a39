package configs

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "64MiB": 64 * MiB, "2GiB": 2 * GiB, "1 KiB": KiB, "10MB": 10_000_000, "512": 512, "7B": 7, "1TiB": TiB,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1MiB", "1.5GiB", "64M", "9223372036854775807KiB", "1MiBB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
	if s := (64 * MiB).String() + (Size(3)).String() + (2 * GiB).String(); s != "64MiB3B2GiB" {
		t.Error(s)
	}
}

func TestParseQuota(t *testing.T) {
	if q, err := parseQuota("10/m"); err != nil || q != (Quota{10, time.Minute}) || q.String() != "10/m" {
		t.Error(q, err)
	}
	for _, text := range []string{"", "10", "10/", "0/m", "x/m", "10/d", "-1/s"} {
		if q, err := parseQuota(text); err == nil {
			t.Errorf("parseQuota(%q) = %v, want an error", text, q)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, " 7d ": 168 * time.Hour, "1d12h30m": 36*time.Hour + 30*time.Minute, "0d": 0, "-5s": -5 * time.Second, "50000d": 1_200_000 * time.Hour,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "d", "7", "-1d", "1d-1h", "1.5d", "1d1d", "50001d", "9999999h", "1 d", "1w", "99999999999999999999d"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q is read as %v", in, got)
		}
	}
}
