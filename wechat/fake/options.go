package fake

import (
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
	// LookupTimeout and LookupTries bound the reverse lookup; default 5 s, 3.
	LookupTimeout time.Duration
	LookupTries   int
	// MarkFailAfter lookups in a row that reached nobody, WeChat stops calling
	// for MarkFailFor (default 1 min): pushes are 932001 at once. 0: never.
	MarkFailAfter int
	MarkFailFor   time.Duration
	// Quotas by API; see DefaultDayQuota.
	Quotas map[API]Quota
	Script Script
	// Seed makes nonces, request ids, tokens and shares of faults repeatable.
	Seed uint64
	// Transport carries the lookups; default one of its own.
	Transport http.RoundTripper
	Now       func() time.Time
	// Keep bounds how many calls and lookups are remembered; default 200,000.
	// Pushes are all kept: they are what tests compare.
	Keep int
	// Hooks; called without a lock held, in the goroutine of the call. They
	// must not block.
	OnPush   func(Push)
	OnLookup func(Lookup)
	OnCall   func(Call)
}

func (o Options) withDefaults() Options {
	text := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	text(&o.AppID, DefaultAppID)
	text(&o.Secret, DefaultSecret)
	text(&o.Token, DefaultToken)
	text(&o.AESKey, DefaultAESKey)
	text(&o.UserName, DefaultUserName)
	text((*string)(&o.Mode), string(Secure))
	text((*string)(&o.Format), string(JSON))
	span := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	span(&o.TokenLife, 7200*time.Second)
	span(&o.LookupTimeout, 5*time.Second)
	span(&o.MarkFailFor, time.Minute)
	if o.LookupTries == 0 {
		o.LookupTries = 3
	}
	if o.Keep == 0 {
		o.Keep = 200_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}
	}
	return o
}

func newRand(seed uint64, stream string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a: one stream of chance per name
	for i := range len(stream) {
		h = (h ^ uint64(stream[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}
