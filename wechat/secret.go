package wechat

import (
	"fmt"
	"log/slog"
)

const masked = "***"

// Secret is an access token, an AppSecret or a callback key. However it is
// printed, with fmt, log/slog or encoding/json, it comes out as ***.
type Secret string

// Reveal returns the content itself, for the wire and the disk.
func (s Secret) Reveal() string { return string(s) }

// String returns *** for any content and nothing for none.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format masks under every verb, so that %#v and %x do not leak either. An
// error of the writer is fmt's to report.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue masks in log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks in JSON and everything else that encodes text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
