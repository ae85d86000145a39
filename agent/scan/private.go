package scan

import (
	"fmt"
	"log/slog"
	"strings"
)

// Phone is a telephone number. It prints as 138******00: at least six digits
// stay hidden, as the national e-waybill standard asks.
type Phone string

// Reveal returns the number itself.
func (p Phone) Reveal() string { return string(p) }

// String returns the masked number.
func (p Phone) String() string { return maskDigits(string(p)) }

// Format masks under every verb, so that %#v and %q do not leak either.
func (p Phone) Format(s fmt.State, _ rune) { writeMasked(s, p.String()) }

// LogValue masks in log/slog.
func (p Phone) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText masks in JSON and everything else that encodes text.
func (p Phone) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Private is a name, an address or another short text about a person. It
// prints as *** (or as nothing when empty).
type Private string

// Reveal returns the content itself.
func (p Private) Reveal() string { return string(p) }

// String returns *** for any content.
func (p Private) String() string {
	if p == "" {
		return ""
	}
	return "***"
}

// Format masks under every verb.
func (p Private) Format(s fmt.State, _ rune) { writeMasked(s, p.String()) }

// LogValue masks in log/slog.
func (p Private) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText masks in JSON and everything else that encodes text.
func (p Private) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Text is what the receiver is shown (action_msg). It may hold names and phone
// numbers anywhere: printed, letters and long runs of digits are masked.
type Text string

// Reveal returns the text itself.
func (t Text) Reveal() string { return string(t) }

// String returns the text masked.
func (t Text) String() string { return maskText(string(t)) }

// Format masks under every verb.
func (t Text) Format(s fmt.State, _ rune) { writeMasked(s, t.String()) }

// LogValue masks in log/slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText masks in JSON and everything else that encodes text.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MaskDigitRuns masks every run of seven or more ASCII digits in s.
func MaskDigitRuns(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] >= '0' && s[j] <= '9' {
			j++
		}
		switch {
		case j == i:
			b.WriteByte(s[i])
			i++
			continue
		case j-i >= 7:
			b.WriteString(maskDigits(s[i:j]))
		default:
			b.WriteString(s[i:j])
		}
		i = j
	}
	return b.String()
}

// maskDigits hides all but the first three and last two characters, and never
// fewer than six of them.
func maskDigits(s string) string {
	if s == "" {
		return ""
	}
	r := []rune(s)
	show := max(0, len(r)-6)
	tail := min(2, show)
	head := min(3, show-tail)
	return string(r[:head]) + strings.Repeat("*", len(r)-head-tail) + string(r[len(r)-tail:])
}

// writeMasked ignores an error: fmt reports its own writer's errors.
func writeMasked(s fmt.State, masked string) { _, _ = s.Write([]byte(masked)) }
