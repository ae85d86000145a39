package secret

import (
	"fmt"
	"log/slog"
)

// Masked stands for any secret in what is printed.
const Masked = "***"

// Text is a password, token or key.
type Text string

// Reveal returns the secret itself, for the wire and the disk.
func (t Text) Reveal() string { return string(t) }

// String returns Masked for any secret and nothing for none.
func (t Text) String() string {
	if t == "" {
		return ""
	}
	return Masked
}

// Format masks under every verb, %#v and %x included. An error of the writer is
// fmt's to report.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue masks in log/slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText masks in JSON and everything else that encodes text.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
