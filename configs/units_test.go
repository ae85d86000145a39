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
