package callback

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/wechat"
)

// Mode is the encryption mode that WeChat's console is set to.
type Mode string

// The modes: 明文, 兼容, 安全.
const (
	Plain  Mode = "plain"
	Compat Mode = "compat"
	Secure Mode = "secure"
)

// encrypted reports whether messages come and go encrypted.
func (m Mode) encrypted() bool { return m != Plain }

// Config is what the callback needs to know; it mirrors WeChat's console.
type Config struct {
	Token          secret.Text
	EncodingAESKey secret.Text // 43 characters; not used in plain mode
	// TokenOld and EncodingAESKeyOld count beside them, while they are changed in
	// WeChat's console; "": none does. An answer is under what its question was under.
	TokenOld, EncodingAESKeyOld secret.Text
	AppID                       string // not used in plain mode
	Mode                        Mode
	// SwapNames replies with ToUserName and FromUserName exchanged, as
	// WeChat's table says; else they stay as they came, as its sample shows.
	SwapNames bool
	// MaxSkew is how far WeChat's timestamp may be off Now; 0: unchecked.
	MaxSkew time.Duration
	Now     func() time.Time // nil: time.Now
	Rand    io.Reader        // a CSPRNG; nil: crypto/rand
	// MaxInFlight is how many lookups may run at once; what comes beyond is
	// answered CodeTryAgain without asking. 0: 256.
	MaxInFlight int
	Logger      *slog.Logger // nil: logs nothing
	// Observe is told about every call; nil: nobody is. It must not block.
	// code is the ResultCode for KindQuery and KindShed, else the HTTP status.
	Observe func(kind string, code int, took time.Duration)
}

// What Observe tells apart.
const (
	KindURLCheck = "url_check" // the console checked the URL
	KindQuery    = "query"     // a reverse lookup was answered by Lookup
	KindShed     = "shed"      // a reverse lookup was told to try again: overload
	KindEvent    = "event"     // another event, answered success
	KindRefused  = "refused"   // it did not verify
	KindFailed   = "failed"    // our own failure
)

const (
	defaultInFlight = 256
	// lookupLimit is how long Lookup may take. WeChat waits about 5 s, and
	// after repeated timeouts stops calling for about a minute.
	lookupLimit = 2 * time.Second
	bodyLimit   = 3 * time.Second // for the body to arrive
	replyLimit  = 5 * time.Second // for the reply to be taken
	maxBody     = 64 << 10        // bytes; reverse lookups have below 2 KiB
	maxDepth    = 16              // levels of nesting in JSON and XML
	maxWaybill  = 128             // bytes of a waybill number worth looking up
)

// Our ResultCodes (wechat/README.md).
const (
	CodeOK         = 0
	CodeNoWaybill  = 1 // no such waybill, or no waybill data for it
	CodeWrongPhone = 2 // the phone does not belong to this waybill
	CodeTryAgain   = 3 // the snapshot is not ready, or there is too much to do
)

var resultMsgs = map[int]string{
	CodeOK:         "OK",
	CodeNoWaybill:  "no such waybill",
	CodeWrongPhone: "phone does not belong to this waybill",
	CodeTryAgain:   "try again later",
}

// Query is a reverse lookup as WeChat sent it; nothing in it is normalised. It
// prints nothing of its content.
type Query struct {
	WaybillID     string
	SenderPhone   string
	ReceiverPhone string
}

// Format prints nothing of the content, under every verb.
func (q Query) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("query")) }

// LogValue logs nothing of the content.
func (q Query) LogValue() slog.Value { return slog.StringValue("query") }

// Answer is what the snapshot says.
type Answer struct {
	Code int
	Msg  string // "": the usual text for Code
	// CreateTime is the waybill's, unix seconds: the value that pathnotify
	// sent. It and Path are left out of the reply unless Code is CodeOK.
	CreateTime int64
	// Path is all nodes in any order: the reply has the newest first. Of
	// nodes with the same time the one given later counts as newer. The slice
	// is not changed.
	Path []wechat.Node
}

// Lookup answers a reverse lookup from the snapshot. It is called concurrently,
// up to MaxInFlight times, and must return soon after ctx has ended; what it
// returns then is replaced by CodeTryAgain.
type Lookup func(ctx context.Context, q Query) Answer

// withDefaults fills in what was left out and reports all that is wrong.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(c.Token == "", "token is missing")
	refuse(c.Mode != Plain && c.Mode != Compat && c.Mode != Secure, "mode is %q, want %s, %s or %s", string(c.Mode), Secure, Compat, Plain)
	refuse(c.MaxSkew < 0, "max_skew is %v, want 0s or more", c.MaxSkew)
	refuse(c.MaxInFlight < 0, "lookups in flight are limited to %d, want 0 or more", c.MaxInFlight)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Rand = cmp.Or(c.Rand, io.Reader(rand.Reader))
	c.MaxInFlight = cmp.Or(c.MaxInFlight, defaultInFlight)
	if c.Observe == nil {
		c.Observe = func(string, int, time.Duration) {}
	}
	return c, errors.Join(errs...)
}
