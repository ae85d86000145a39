package repair_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"scanrelay/store/repair"
)

// The alarm names each file that was set aside once, by what is known of it now.
func TestAlarm(t *testing.T) {
	const (
		first  = "segment-00000003.db.damaged"
		second = "segment-00000003.db.damaged-2"
		other  = "segment-00000005.db.damaged"
		lost   = "segment 3 was damaged: 88 events read, 12 lost: 5-16; kept as " + first
		found  = "segment 3 was damaged: 100 events read, none lost; kept as " + second
		gone   = "segment 5 was damaged: nothing of it could be read; kept as " + other
		kept   = "a damaged file was kept as "
		met    = "segment-00000007.db holds events that cannot be read; a restart mends what can be mended"
	)
	for name, c := range map[string]struct {
		aside, news, told []string
		reports           map[uint64]string
		want              []string
	}{
		"nothing":                     {},
		"a person took it away":       {told: []string{lost, met}, reports: map[uint64]string{3: lost}},
		"what is new":                 {aside: []string{other}, news: []string{gone}, want: []string{gone}},
		"what was told":               {aside: []string{other}, told: []string{gone, met}, want: []string{gone}},
		"it was found again":          {aside: []string{first, second}, told: []string{lost}, reports: map[uint64]string{3: found}, want: []string{found}},
		"its segment is gone":         {aside: []string{first}, told: []string{lost}, want: []string{lost}},
		"nobody told":                 {aside: []string{first, second}, want: []string{kept + first, kept + second}},
		"one name begins the other":   {aside: []string{first, second}, told: []string{found}, want: []string{found, kept + first}},
		"a restart that looked again": {told: []string{met}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range c.aside {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := repair.Alarm(dir, c.news, c.told, c.reports)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("it says %q, %v; want %q", got, err, c.want)
			}
		})
	}
}
