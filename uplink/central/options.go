package central

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/backup"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/lookup"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/central/tokens"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
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
	// WeChatTime is what WeChat's clock shows, zero if it was not heard; nil: never.
	WeChatTime func() time.Time
	// LogDropped is how many lines of the log nobody took, for the metrics; nil:
	// none.
	LogDropped func() uint64
	// Identities keeps the depots that are added at run time; nil: in memory.
	Identities identity.Store
	Documents  documents.Table // what other rooms keep beside; nil: in memory
	Shared     Shared          // what processes of one centre tell each other; nil: there is one
	// CheckConfig tells what a gateway would say against a configuration; nil: nothing.
	CheckConfig func(directive.Body) error
	Ended       *identity.Ended // nil: nothing is remembered beside that store
	Audit       *audit.Log      // nil: nothing is kept
	Backup      *backup.Keeper  // nil: the store is backed up by its own means
}

// Shared are the tables of several processes of a centre, beside their documents.
type Shared interface {
	presence.Table
	tokens.Table
	waiting.Table
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
	SecretOld      secret.Text // tried where WeChat refuses Secret, while it is changed; "": none
	Rate           float64     // pathnotify calls a second for the whole fleet
	Callback       Callback
	Depots         []Depot
	Operators      []caller.Operator
	AdminToken     secret.Text   // of an operator admin; without one and Operators what they may is closed
	Origins        []string      // by which depots reach this centre; none: not checked
	EnrolValid     time.Duration // life of an enrolment token; 0: 24 h
	Session        time.Duration // life of a depot's session; 0: 1 h
	Cells          []Cell
	PerWaybill     Limit // of JSONP; the zero value: 10 and 60 a minute
	PerAddress     Limit
	TrustedProxies []netip.Prefix
	Updates        Updates
	OpsApart       bool          // operators have a listener of their own
	Retain         time.Duration // 0: 720 h
}

// Updates is the repository of releases, none if Dir is "".
type Updates struct {
	Dir              string
	TimestampKeyFile string // "": the publisher signs the timestamp
}

// Callback is how WeChat calls us. Without a Token there is no callback.
type Callback struct {
	Path           string // "": /wechat/callback
	Token          secret.Text
	EncodingAESKey secret.Text
	// TokenOld and EncodingAESKeyOld count, too, while they are changed; "": none.
	TokenOld, EncodingAESKeyOld secret.Text
	Mode                        callback.Mode
	SwapNames                   bool
	MaxSkew                     time.Duration // 0: unchecked
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

// maxBuckets bounds how many waybills, addresses and depots are remembered: depots
// that were enrolled are in no configuration.
const maxBuckets = 100_000

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LogDropped == nil {
		o.LogDropped = func() uint64 { return 0 }
	}
	memory, _ := identity.OpenJournal("", o.Logger) // memory never fails
	if o.Identities == nil {
		o.Identities = memory
	}
	if o.Documents == nil {
		o.Documents = memory
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	if o.WeChatTime == nil {
		o.WeChatTime = func() time.Time { return time.Time{} }
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
	if c.EnrolValid <= 0 {
		c.EnrolValid = 24 * time.Hour
	}
	if c.Session <= 0 {
		c.Session = time.Hour
	}
	if c.Retain <= 0 {
		c.Retain = 720 * time.Hour
	}
}

func (c *Config) credentials() caller.Credentials {
	return caller.Credentials{Depots: c.Depots, Operators: c.Operators, Admin: c.AdminToken}
}

func (c *Config) secrets() tokens.Secrets {
	return tokens.Secrets{Secret: c.Secret, Old: c.SecretOld}
}

func (c *Config) callback() callback.Config {
	cb := c.Callback
	return callback.Config{
		Token: cb.Token, TokenOld: cb.TokenOld, EncodingAESKey: cb.EncodingAESKey, EncodingAESKeyOld: cb.EncodingAESKeyOld,
		AppID: c.AppID, Mode: cb.Mode, SwapNames: cb.SwapNames, MaxSkew: cb.MaxSkew,
	}
}

func (c *Config) terms() *lookup.Terms {
	return &lookup.Terms{Cells: c.Cells, PerWaybill: c.PerWaybill.keyed(), PerAddress: c.PerAddress.keyed()}
}

func (c *Config) identity() identity.Config {
	out := identity.Config{EnrolValid: c.EnrolValid, Session: c.Session}
	for _, o := range c.Origins {
		out.Origins = append(out.Origins, syncapi.Origin(o))
	}
	return out
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
	for _, taken := range []string{"/", "/v1", "/jsonp", "/healthz", "/readyz", "/metrics", "/signin", "/signout", "/depots", "/waybills", "/audit"} {
		at := path.Clean(c.Callback.Path)
		bad(at == taken || taken != "/" && strings.HasPrefix(at, taken+"/"),
			"wechat.callback.path: %q is taken by %s", c.Callback.Path, taken)
	}
	ids, tokens := map[scan.DepotID]bool{}, map[secret.Text]string{c.AdminToken: "admin_token"}
	shared := func(who string, token secret.Text) {
		if token == "" {
			return
		}
		other, ok := tokens[token]
		bad(ok, "%s and %s have the same token", other, who)
		tokens[token] = who
	}
	for _, op := range c.Operators {
		bad(op.Token == "", "operators: %s has no token", op.Name)
		shared("operator "+op.Name, op.Token)
	}
	for _, d := range c.Depots {
		bad(!d.ID.Valid(), "depots: %q is no depot id", d.ID)
		bad(ids[d.ID], "depots: %s stands there twice", d.ID)
		ids[d.ID] = true
		shared("depot "+string(d.ID), d.Token)
		shared("depot "+string(d.ID), d.TokenNext)
	}
	return errors.Join(errs...)
}
