package wechat

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"scanrelay/configs/secret"
)

// ErrNoToken marks a call that was not made because there was no access token.
var ErrNoToken = errors.New("access_token is missing")

// Error is why a call did not succeed. Exactly one of these holds: Code is
// WeChat's errcode; Status is an HTTP status other than 200; Err says why there
// was no answer that could be read, or why nothing was sent.
type Error struct {
	API    string // stable_token, userquery, pathnotify, quota
	Status int    // HTTP status; 0: no answer came
	Code   int    // errcode; 0: none
	Msg    string // errmsg without the rid, and what may be personal or secret
	RID    string // WeChat's request id, which its support asks for; lives 7 days
	// RetryAfter is how long WeChat asked us to wait; 0 if it did not say.
	RetryAfter time.Duration
	// Sent is set when the request may have reached WeChat: it may have acted
	// on it although no answer came.
	Sent bool
	Err  error // free of secrets; wraps the context's error where that ended it
}

// AsError returns the *Error in err. Any other becomes one of a call of api that
// got no answer; nil stays nil.
func AsError(api string, err error) *Error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return e
	}
	return &Error{API: api, Err: err}
}

// Class says what to do about e.
func (e *Error) Class() Class {
	switch {
	case e.Code != 0:
		return e.codeClass()
	case errors.Is(e.Err, ErrInvalid):
		return Permanent
	case errors.Is(e.Err, ErrNoToken):
		return BadToken
	case e.Status == http.StatusTooManyRequests:
		return Throttled
	}
	return Transient
}

// codeClass is ClassOf, but for stable_token, which is about the account alone:
// there a bad token means that the AppSecret is wrong, as none was sent, and a
// code that nobody knows that something is wrong with the account. Asking again
// would hammer WeChat with it.
func (e *Error) codeClass() Class {
	class := ClassOf(e.Code)
	if (class == BadToken || class == Unknown) && e.API == APIStableToken {
		return Blocked
	}
	return class
}

// Label names e in metrics: its errcode, http_503, or "" where no answer came.
func (e *Error) Label() string {
	switch {
	case e.Code != 0:
		return strconv.Itoa(e.Code)
	case e.Status != 0:
		return "http_" + strconv.Itoa(e.Status)
	}
	return ""
}

// Error says what happened in one line without secrets or personal data.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "call %s: ", e.API)
	switch {
	case e.Code != 0:
		fmt.Fprintf(&b, "errcode %d", e.Code)
		if m := Meaning(e.Code); m != "" {
			fmt.Fprintf(&b, " (%s)", m)
		}
		if e.Msg != "" {
			fmt.Fprintf(&b, ": %s", e.Msg)
		}
		if e.RID != "" {
			fmt.Fprintf(&b, ", rid %s", e.RID)
		}
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		fmt.Fprintf(&b, "http status %d", e.Status)
	}
	return b.String()
}

// Unwrap returns the cause, which is free of secrets.
func (e *Error) Unwrap() error { return e.Err }

// maxMsg bounds an errmsg in bytes: it goes into the outbox and onto screens.
const maxMsg = 300

var (
	ridSuffix = regexp.MustCompile(`[\s,;]*\brid: ?([0-9a-f]{8}(?:-[0-9a-f]{8}){1,3})\s*$`)
)

// splitRID takes the rid off the end of an errmsg; "" if there is none.
func splitRID(errmsg string) (msg, rid string) {
	m := ridSuffix.FindStringSubmatchIndex(errmsg)
	if m == nil {
		return errmsg, ""
	}
	return errmsg[:m[0]], errmsg[m[2]:m[3]]
}

// cleanMsg makes an errmsg fit to be kept and shown: one line, bounded, and without
// what may be personal. IP addresses stay.
func cleanMsg(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = secret.Foreign(strings.TrimSpace(s))
	if len(s) <= maxMsg {
		return s
	}
	cut := maxMsg
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
