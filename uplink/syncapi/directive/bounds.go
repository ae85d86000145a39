package directive

import "strings"

// Cut is a text with what is beyond its bound cut off.
func Cut(s string) string {
	if len(s) <= MaxText {
		return s
	}
	const mark = "…"
	return strings.ToValidUTF8(s[:MaxText-len(mark)], "") + mark
}

// Bounded is d, or nothing where it holds more than a centre may send.
func (d *Directives) Bounded() *Directives {
	if d == nil {
		return nil
	}
	n := 0
	if d.Update != nil {
		n += len(d.Update.Version) + len(d.Update.Rollout)
	}
	if d.Config != nil {
		n += len(d.Config.Name) + len(d.Config.SHA256)
	}
	if n > MaxBytes {
		return nil
	}
	return d
}
