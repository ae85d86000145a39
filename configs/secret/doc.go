// Package secret has the one type for passwords, tokens and keys, and says what may be
// shown of texts that others wrote. It promises
// that a secret prints masked, whatever prints it: fmt, log/slog or an encoder.
// Only Reveal gives it away. It must never import anything but the standard
// library, so that every package can take it over.
package secret
