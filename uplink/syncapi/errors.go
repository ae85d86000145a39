package syncapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi/directive"
)

// Error is why a call failed. It never holds the credential, nor anything of
// an event.
type Error struct {
	What       string // was being done; "": a sync
	Status     int    // HTTP status; 0: no answer came
	Message    string // what the centre said
	RetryAfter time.Duration
	Err        error // what went wrong on the way; nil if the centre refused
	// Directives are what the centre wants of a gateway with which it has no version of
	// the sync API in common.
	Directives *directive.Directives
}

func (e *Error) Error() string {
	what := cmp.Or(e.What, "sync with central")
	switch {
	case e.Err != nil:
		return what + ": " + e.Err.Error()
	case e.Message != "":
		return fmt.Sprintf("%s: HTTP %d: %s", what, e.Status, e.Message)
	}
	return fmt.Sprintf("%s: HTTP %d %s", what, e.Status, http.StatusText(e.Status))
}

func (e *Error) Unwrap() error { return e.Err }

// Refused reports whether the centre refused the request as it is: sent again
// unchanged it would be refused again.
func (e *Error) Refused() bool {
	return e.Err == nil && (e.Status == http.StatusBadRequest || e.Status == http.StatusRequestEntityTooLarge)
}

// Unauthorized reports whether the centre does not accept the credential.
func (e *Error) Unauthorized() bool {
	return e.Err == nil && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// redact takes the URL out of a transport error: it is the operator's
// configuration, in which nothing secret should stand, but might. What it quotes is the
// other side's.
func redact(err error, token secret.Text) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if token != "" && strings.Contains(err.Error(), token.Reveal()) {
		return errors.New(clean(err.Error(), token))
	}
	if text := secret.Quotes(err.Error()); text != err.Error() {
		return &shown{text, err}
	}
	return err
}

// shown is an error that prints as another text.
type shown struct {
	text string
	err  error
}

func (s *shown) Error() string { return s.text }

func (s *shown) Unwrap() error { return s.err }

// clean makes text from the other side fit for a log: one line, of bounded
// length, without our credential and without what may be
// personal, but for words that are ours.
func clean(s string, token secret.Text, ours ...string) string {
	if token != "" {
		s = strings.ReplaceAll(s, token.Reveal(), secret.Masked)
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > maxReason {
		s = string(r[:maxReason]) + "…"
	}
	return secret.Foreign(strings.TrimSpace(s), ours...)
}
