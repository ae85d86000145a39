package configs

import (
	"fmt"
	"log/slog"
)

// Secret is a password, token or key. However it is printed it comes out as
// ***; Reveal is the only way to it.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns *** for any secret and nothing for none.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format masks under every verb, %#v and %q included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue masks in log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks in JSON and everything else that encodes text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
