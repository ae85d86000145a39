package fake

import (
	"cmp"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"scanrelay/wechat/callback"
)

// Mode is the message push's encryption mode (wechat/README.md, Modes).
type Mode = callback.Mode

// The three modes that can be chosen in WeChat's console.
const (
	Plain  = callback.Plain
	Compat = callback.Compat
	Secure = callback.Secure
)

// Format is the message push's data format.
type Format string

// The two formats that can be chosen in WeChat's console.
const (
	JSON Format = "json"
	XML  Format = "xml"
)

// Defaults of Options; tests and the demo configure central with the same.
const (
	DefaultAppID    = "wxfa4e00000000demo"
	DefaultSecret   = "fake0appsecret0fake0appsecret000"
	DefaultToken    = "fakepushtoken"
	DefaultAESKey   = "ZmFrZXdlY2hhdGZha2V3ZWNoYXRmYWtld2VjaGF0ZmE"
	DefaultUserName = "gh_fa4e00carrier"
	// TeamOpenID is the FromUserName of every lookup: WeChat's team, fixed.
	TeamOpenID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"
)

// Options of a fake WeChat. The zero value is usable: secure mode, JSON, no
// quota but the daily one, no faults, nobody bound.
type Options struct {
	AppID, Secret string
	// Token and AESKey (43 characters) belong to the message push.
	Token, AESKey string
	UserName      string // the carrier's mini program, gh_…
	Callback      string // URL of the reverse lookup; "" means nobody answers
	Mode          Mode
	Format        Format
	// KeepNames expects ToUserName and FromUserName in the reply as they were
	// in the request (callback.swap_names: false).
	KeepNames bool
	// BoundByDefault is what phones are that Bind was never called for.
	BoundByDefault bool
	// SkipUnbound answers pathnotify for an unbound phone without a lookup.
	SkipUnbound bool
	// TokenLife is how long a token lives; default 7200 s.
	TokenLife time.Duration
	// Lookup is how the reverse lookup is made; default 5 s, 3 tries, and
	// WeChat never stops calling (MarkFailAfter 0).
	Lookup LookupRules
	// Quotas by API; see DefaultDayQuota.
	Quotas map[API]Quota
	Script Script
	// Seed makes nonces, request ids, tokens and shares of faults repeatable.
	Seed uint64
	// Transport carries the lookups; default one of its own.
	Transport http.RoundTripper
	Now       func() time.Time
	// Hooks; called without a lock held, in the goroutine of the call. They
	// must not block.
	OnPush   func(Push)
	OnLookup func(Lookup)
}

func (o Options) withDefaults() Options {
	o.AppID = cmp.Or(o.AppID, DefaultAppID)
	o.Secret = cmp.Or(o.Secret, DefaultSecret)
	o.Token = cmp.Or(o.Token, DefaultToken)
	o.AESKey = cmp.Or(o.AESKey, DefaultAESKey)
	o.UserName = cmp.Or(o.UserName, DefaultUserName)
	o.Mode = cmp.Or(o.Mode, Secure)
	o.Format = cmp.Or(o.Format, JSON)
	o.TokenLife = cmp.Or(o.TokenLife, 7200*time.Second)
	o.Lookup = o.Lookup.over(LookupRules{Timeout: 5 * time.Second, Tries: 3, MarkFailFor: time.Minute})
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}
	}
	return o
}

// newRand returns a stream of chance of its own for each name.
func newRand(seed uint64, stream string) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, stream) // never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
