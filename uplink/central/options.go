package central

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/lookup"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/central/tokens"
	"scanrelay/wechat/callback"
)

// Options is what a Central is made of.
type Options struct {
	Config   Config
	Snapshot snapshot.Store // the caller closes it after Run has returned
	WeChat   WeChat         // a *wechat.Client
	Version  string
	Logger   *slog.Logger     // nil: logs nothing
	Now      func() time.Time // nil: time.Now
	Metrics  *metrics.Set     // nil: a set of its own
}

// WeChat is what the centre calls there.
type WeChat interface {
	tokens.Source
	quota.Source
}

// Config is the centre's part of the configuration.
type Config struct {
	AppID          string
	Secret         secret.Text
	Rate           float64 // pathnotify calls a second for the whole fleet
	Callback       Callback
	Depots         []Depot
	AdminToken     secret.Text // "": what needs it is closed
	Cells          []Cell
	PerWaybill     Limit // of JSONP; the zero value: 10 and 60 a minute
	PerAddress     Limit
	TrustedProxies []netip.Prefix
	Retain         time.Duration // 0: 720 h
}

// Callback is how WeChat calls us. Without a Token there is no callback.
type Callback struct {
	Path           string // "": /wechat/callback
	Token          secret.Text
	EncodingAESKey secret.Text
	Mode           callback.Mode
	SwapNames      bool
	MaxSkew        time.Duration // 0: unchecked
}

// Depot is a depot's static credential. Without a token it needs a certificate.
type Depot = caller.Depot

// Cell is an entry of WeChat's landing page; in Link {waybill_id} is replaced.
type Cell = lookup.Cell

// Limit allows Count calls in Per, and as many at once.
type Limit struct {
	Count int
	Per   time.Duration
}

// keyed has as many calls at once for each key, refilled over Per.
func (l Limit) keyed() *limit.Keyed {
	if l.Count <= 0 || l.Per <= 0 {
		return limit.New(0, 0, maxBuckets)
	}
	return limit.New(float64(l.Count)/l.Per.Seconds(), l.Count, maxBuckets)
}

// maxBuckets bounds how many waybills and how many addresses are remembered.
const maxBuckets = 100_000

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	c := &o.Config
	if c.Callback.Path == "" {
		c.Callback.Path = "/wechat/callback"
	}
	if c.PerWaybill == (Limit{}) {
		c.PerWaybill = Limit{10, time.Minute}
	}
	if c.PerAddress == (Limit{}) {
		c.PerAddress = Limit{60, time.Minute}
	}
	if c.Retain <= 0 {
		c.Retain = 720 * time.Hour
	}
}

// problems returns all that is wrong with the options, joined.
func (o *Options) problems() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	c := &o.Config
	bad(o.Snapshot == nil, "no snapshot store")
	bad(o.WeChat == nil, "no WeChat client")
	bad(c.Rate < 0, "wechat.rate: %v is below 0", c.Rate)
	bad(!strings.HasPrefix(c.Callback.Path, "/"), "wechat.callback.path: %q does not begin with /", c.Callback.Path)
	for _, taken := range []string{"/", "/v1", "/jsonp", "/healthz", "/readyz", "/metrics"} {
		bad(c.Callback.Path == taken || taken != "/" && strings.HasPrefix(c.Callback.Path, taken+"/"),
			"wechat.callback.path: %q is taken by %s", c.Callback.Path, taken)
	}
	ids, tokens := map[scan.DepotID]bool{}, map[secret.Text]scan.DepotID{}
	for _, d := range c.Depots {
		bad(!d.ID.Valid(), "depots: %q is no depot id", d.ID)
		bad(ids[d.ID], "depots: %s stands there twice", d.ID)
		ids[d.ID] = true
		other, shared := tokens[d.Token]
		bad(d.Token != "" && shared, "depots: %s and %s have the same token", other, d.ID)
		bad(d.Token != "" && d.Token == c.AdminToken, "depots: %s has the admin token", d.ID)
		tokens[d.Token] = d.ID
	}
	return errors.Join(errs...)
}
