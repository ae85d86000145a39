package cli

import "fmt"

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
