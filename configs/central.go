package configs

import (
	"net/netip"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
	"scanrelay/wechat"
)

// Central is the centre's configuration.
type Central struct {
	Listen         string            `yaml:"listen"`
	TLS            tlsfile.Server    `yaml:"tls"`
	DataDir        string            `yaml:"data_dir"`
	Store          CentralStore      `yaml:"store"`
	WeChat         WeChatAccount     `yaml:"wechat"`
	Depots         []DepotCredential `yaml:"depots"`
	AdminToken     secret.Text       `yaml:"admin_token"`
	Cells          []Cell            `yaml:"cells"`
	JSONP          JSONP             `yaml:"jsonp"`
	TrustedProxies []netip.Prefix    `yaml:"trusted_proxies"`
	Retain         time.Duration     `yaml:"retain"`
	Log            Log               `yaml:"log"`
}

// CentralStore is where the centre keeps the snapshot.
type CentralStore struct {
	Driver string      `yaml:"driver"`
	DSN    secret.Text `yaml:"dsn"` // of a driver that is reached over the network
}

// WeChatAccount is the carrier's account at WeChat.
type WeChatAccount struct {
	BaseURL  string      `yaml:"base_url"`
	Rate     float64     `yaml:"rate"` // pathnotify calls a second for the fleet
	AppID    string      `yaml:"appid"`
	Secret   secret.Text `yaml:"secret"`
	Callback Callback    `yaml:"callback"`
}

// Callback is how WeChat's reverse lookups are taken.
type Callback struct {
	Path           string        `yaml:"path"`
	Token          secret.Text   `yaml:"token"`
	EncodingAESKey secret.Text   `yaml:"encoding_aes_key"`
	Mode           string        `yaml:"mode"`
	SwapNames      bool          `yaml:"swap_names"`
	MaxSkew        time.Duration `yaml:"max_skew"` // 0: unchecked
}

// DepotCredential lets one depot sync.
type DepotCredential struct {
	ID    scan.DepotID `yaml:"id"`
	Token secret.Text  `yaml:"token"`
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
		Store:   CentralStore{Driver: "bbolt"},
		WeChat: WeChatAccount{
			BaseURL: wechat.DefaultBaseURL, Rate: 500,
			Callback: Callback{Path: "/wechat/callback", Mode: "secure", SwapNames: true, MaxSkew: 10 * time.Minute},
		},
		JSONP:  JSONP{PerWaybill: Quota{10, time.Minute}, PerAddress: Quota{60, time.Minute}},
		Retain: 720 * time.Hour,
		Log:    Log{Level: "info", Format: "auto"},
	}
}
