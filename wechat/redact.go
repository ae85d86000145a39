package wechat

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"scanrelay/configs/secret"
)

// leak finds what a URL or JSON carries as a secret, also where a URL stands
// escaped within another.
var leak = regexp.MustCompile(`(?i)((?:access_token|secret)(?:=|%3D|\\*"\s*:\s*\\*"))[^&\s"'<>\\]*`)

// userinfo finds the credential in a URL, a proxy's for instance.
var userinfo = regexp.MustCompile(`//[^/@\s"]+@`)

// RedactURL returns a URL, or any text with URLs or JSON in it, with the values
// of access_token and secret and all passwords replaced by ***.
func RedactURL(text string) string {
	text = leak.ReplaceAllString(text, "${1}"+secret.Masked)
	return userinfo.ReplaceAllString(text, "//"+secret.Masked+"@")
}

// Redact returns an error that says what err says without its secrets. What
// stays reachable is errors.Is for every target, errors.As for *Error, and
// Timeout; nothing else of err can be got at, so nothing else can be printed.
func Redact(err error) error { return redactWith(err, RedactURL) }

// redactWith is Redact with clean in place of RedactURL.
func redactWith(err error, clean func(string) string) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { // clean as it is; what wraps one may not be
		return e
	}
	var api *Error
	errors.As(err, &api)
	return &redacted{text: clean(err.Error()), cause: err, api: api}
}

// hide returns a function that replaces secrets as they stand and as a URL
// escapes them, whatever RedactURL finds, and what may be personal of a quoted answer.
func hide(secrets ...secret.Text) func(string) string {
	var pairs []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		for _, form := range []string{s.Reveal(), url.QueryEscape(s.Reveal()), url.PathEscape(s.Reveal())} {
			pairs = append(pairs, form, secret.Masked)
		}
	}
	literal := strings.NewReplacer(pairs...)
	return func(text string) string { return secret.Quotes(RedactURL(literal.Replace(text))) }
}

// redacted has no Unwrap: its cause must not come out.
type redacted struct {
	text  string
	cause error
	api   *Error // an Error within cause; nil if none
}

func (r *redacted) Error() string { return r.text }

// Format prints the text under every verb; %#v would show the cause.
func (r *redacted) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.text)) }

func (r *redacted) Is(target error) bool { return errors.Is(r.cause, target) }

// As finds an *Error only: other types may carry a secret.
func (r *redacted) As(target any) bool {
	t, ok := target.(**Error)
	if ok && r.api != nil {
		*t = r.api
		return true
	}
	return false
}

// Timeout reports whether the cause was one, as net.Error does.
func (r *redacted) Timeout() bool {
	if errors.Is(r.cause, context.DeadlineExceeded) || errors.Is(r.cause, os.ErrDeadlineExceeded) {
		return true
	}
	var t interface{ Timeout() bool }
	return errors.As(r.cause, &t) && t.Timeout()
}
