package configs

import (
	"net/netip"
	"reflect"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
	"scanrelay/wechat"
)

// Central is the centre's configuration.
type Central struct {
	Listen         string            `yaml:"listen"`
	OpsListen      string            `yaml:"ops_listen"` // "": operators are served on listen
	TLS            tlsfile.Server    `yaml:"tls"`
	DataDir        string            `yaml:"data_dir"`
	Store          CentralStore      `yaml:"store"`
	WeChat         WeChatAccount     `yaml:"wechat"`
	Depots         []DepotCredential `yaml:"depots"`
	AdminToken     secret.Text       `yaml:"admin_token"`
	Operators      []Operator        `yaml:"operators"`
	Origins        []string          `yaml:"origins"` // by which depots reach the centre
	Identity       DepotIdentity     `yaml:"identity"`
	Backup         Backup            `yaml:"backup"`
	Updates        Updates           `yaml:"updates"`
	Cells          []Cell            `yaml:"cells"`
	JSONP          JSONP             `yaml:"jsonp"`
	TrustedProxies []netip.Prefix    `yaml:"trusted_proxies"`
	Retain         time.Duration     `yaml:"retain"`
	Log            Log               `yaml:"log"`
}

// CentralStore is where the centre keeps the snapshot.
type CentralStore struct {
	Driver   string      `yaml:"driver"`
	DSN      secret.Text `yaml:"dsn"`       // of postgres: a URL or key=value
	MaxConns int         `yaml:"max_conns"` // of postgres: connections at once
	Migrate  bool        `yaml:"migrate"`   // of postgres: a start brings the schema up to date
	Key      secret.Text `yaml:"key"`       // master keys: 64 hex digits each, the first to wrap with
}

// WeChatAccount is the carrier's account at WeChat.
type WeChatAccount struct {
	BaseURL string      `yaml:"base_url"`
	Rate    float64     `yaml:"rate"` // pathnotify calls a second for the fleet
	AppID   string      `yaml:"appid"`
	Secret  secret.Text `yaml:"secret"`
	// SecretOld counts where WeChat refuses Secret, while it is changed.
	SecretOld secret.Text `yaml:"secret_old"`
	Callback  Callback    `yaml:"callback"`
}

// Callback is how WeChat's reverse lookups are taken.
type Callback struct {
	Path           string      `yaml:"path"`
	Token          secret.Text `yaml:"token"`
	EncodingAESKey secret.Text `yaml:"encoding_aes_key"`
	// TokenOld and EncodingAESKeyOld count, too, while they are changed.
	TokenOld          secret.Text   `yaml:"token_old"`
	EncodingAESKeyOld secret.Text   `yaml:"encoding_aes_key_old"`
	Mode              string        `yaml:"mode"`
	SwapNames         bool          `yaml:"swap_names"`
	MaxSkew           time.Duration `yaml:"max_skew"` // 0: unchecked
}

// DepotCredential lets one depot sync.
type DepotCredential struct {
	ID         scan.DepotID `yaml:"id"`
	Token      secret.Text  `yaml:"token"`
	TokenNext  secret.Text  `yaml:"token_next"`  // counts, too, while one is changed for the other
	CertSHA256 []string     `yaml:"cert_sha256"` // fingerprints of its client certificates
}

// Operator may look and act at the centre.
type Operator struct {
	Name  string      `yaml:"name"`
	Token secret.Text `yaml:"token"`
	Role  string      `yaml:"role"`
}

// DepotIdentity is how depots are enrolled at run time.
type DepotIdentity struct {
	EnrolValid time.Duration `yaml:"enrol_valid"`
	Session    time.Duration `yaml:"session"`
}

// Backup is how copies of the files of bbolt are made by schedule.
type Backup struct {
	Dir   string        `yaml:"dir"`
	Every time.Duration `yaml:"every"`
	Keep  int           `yaml:"keep"` // of them, the newest
}

// Updates is the repository of releases that the centre serves to gateways.
type Updates struct {
	Dir              string `yaml:"dir"`
	TimestampKeyFile string `yaml:"timestamp_key_file"` // "": the publisher signs the timestamp
}

// Cell is a link on WeChat's landing page.
type Cell struct {
	Key  string `yaml:"key"`
	Name string `yaml:"name"`
	Link string `yaml:"link"`
}

// JSONP bounds guessing at the landing page's data.
type JSONP struct {
	PerWaybill Quota `yaml:"per_waybill"`
	PerAddress Quota `yaml:"per_address"`
}

// defaultCentral returns a centre's configuration as an empty file gives it.
func defaultCentral() *Central {
	return &Central{
		Listen:  "127.0.0.1:8080",
		DataDir: "/var/lib/scanrelay-central",
		Store:   CentralStore{Driver: "bbolt", MaxConns: 16, Migrate: true},
		WeChat: WeChatAccount{
			BaseURL: wechat.DefaultBaseURL, Rate: 500,
			Callback: Callback{Path: "/wechat/callback", Mode: "secure", SwapNames: true, MaxSkew: 10 * time.Minute},
		},
		JSONP:    JSONP{PerWaybill: Quota{10, time.Minute}, PerAddress: Quota{60, time.Minute}},
		Backup:   Backup{Keep: 7},
		Identity: DepotIdentity{EnrolValid: 24 * time.Hour, Session: time.Hour},
		Retain:   720 * time.Hour,
		Log:      Log{Level: "info", Format: "auto"},
	}
}

// NeedRestart names the keys in which c differs from what is in use, beside those
// that a running centre takes up.
func (c *Central) NeedRestart(was *Central) (keys []string) {
	account, before := c.WeChat, was.WeChat
	for _, a := range []*WeChatAccount{&account, &before} {
		a.Rate, a.Secret, a.SecretOld = 0, "", ""
		a.Callback.Token, a.Callback.TokenOld, a.Callback.EncodingAESKey, a.Callback.EncodingAESKeyOld = "", "", "", ""
	}
	store, stored := c.Store, was.Store
	store.Key, stored.Key = "", ""
	for _, k := range []struct {
		key       string
		was, next any
	}{
		{"listen", was.Listen, c.Listen}, {"ops_listen", was.OpsListen, c.OpsListen}, {"tls", was.TLS, c.TLS},
		{"data_dir", was.DataDir, c.DataDir}, {"store", stored, store}, {"wechat", before, account},
		{"backup", was.Backup, c.Backup}, {"updates", was.Updates, c.Updates},
		{"log.format", was.Log.Format, c.Log.Format},
	} {
		if !reflect.DeepEqual(k.was, k.next) {
			keys = append(keys, k.key)
		}
	}
	return keys
}
