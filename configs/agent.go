package configs

import (
	"fmt"
	"scanrelay/agent/intake/user"
	"strings"
	"time"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
	"scanrelay/configs/wait"
	"scanrelay/wechat"
)

// Agent is a depot agent's configuration.
type Agent struct {
	Depot   Depot  `yaml:"depot"`
	DataDir string `yaml:"data_dir"`
	MQTT    MQTT   `yaml:"mqtt"`
	// WaybillPattern is what a waybill number must match. Unless it was set,
	// what looks like a phone number is none either.
	WaybillPattern    string                     `yaml:"waybill_pattern"`
	WaybillPatternSet bool                       `yaml:"-"`
	RemoteUnused      string                     `yaml:"-"` // why what the centre gave is not in use
	DedupeWindow      time.Duration              `yaml:"dedupe_window"`
	Quarantine        Quarantine                 `yaml:"quarantine"`
	Sources           []mapping.Source           `yaml:"sources"`
	Stations          map[string]mapping.Station `yaml:"stations"`
	Central           CentralLink                `yaml:"central"`
	Identity          Identity                   `yaml:"identity"`
	WeChat            WeChatLink                 `yaml:"wechat"`
	Notify            Notify                     `yaml:"notify"`
	Store             OutboxStore                `yaml:"store"`
	Update            Update                     `yaml:"update"`
	HTTP              HTTP                       `yaml:"http"`
	Log               Log                        `yaml:"log"`
}

// Mapping is what the configuration says of sources and stations.
func (a *Agent) Mapping() mapping.Config {
	return mapping.Config{
		Depot: a.Depot.ID, DepotName: a.Depot.Name, Sources: a.Sources, Stations: a.Stations,
		WaybillPattern: a.WaybillPattern, WaybillPatternSet: a.WaybillPatternSet,
	}
}

// Depot names the agent's site.
type Depot struct {
	ID   scan.DepotID `yaml:"id"`
	Name string       `yaml:"name"`
}

// EmbeddedBroker as mqtt.broker makes the agent start a broker itself.
const EmbeddedBroker = "embedded"

// MQTT is where scans come from.
type MQTT struct {
	Broker   string         `yaml:"broker"`
	Listen   string         `yaml:"listen"` // embedded only
	ClientID string         `yaml:"client_id"`
	Brokers  []string       `yaml:"brokers"` // further ones, tried in turn
	Username string         `yaml:"username"`
	Password secret.Text    `yaml:"password"`
	TLS      tlsfile.Client `yaml:"tls"`
	Embedded Embedded       `yaml:"embedded"`
}

// Embedded is the broker that the agent runs itself.
type Embedded struct {
	Users                []user.User    `yaml:"users"`     // none: nobody has to log in
	TLS                  tlsfile.Server `yaml:"tls"`       // of mqtt.listen
	Listeners            []MQTTListener `yaml:"listeners"` // further ones
	MaxPacket            Size           `yaml:"max_packet"`
	MaxClients           int            `yaml:"max_clients"`
	MaxClientsPerAddress int            `yaml:"max_clients_per_address"` // 0: three quarters of max_clients
	Rate                 float64        `yaml:"rate"`                    // events a second per client; 0: unlimited
}

// MQTTListener is a listener of the embedded broker.
type MQTTListener struct {
	Listen    string         `yaml:"listen"`
	TLS       tlsfile.Server `yaml:"tls"`
	WebSocket bool           `yaml:"websocket"`

	Key string `yaml:"-"` // where its address stands in the configuration
}

// TLSKey is where its certificate stands in the configuration.
func (l MQTTListener) TLSKey() string {
	if l.Key == "mqtt.listen" {
		return "mqtt.embedded.tls"
	}
	return strings.TrimSuffix(l.Key, "listen") + "tls"
}

// Listeners are all that the embedded broker serves on, mqtt.listen first.
func (m MQTT) Listeners() []MQTTListener {
	list := []MQTTListener{{Listen: m.Listen, TLS: m.Embedded.TLS, Key: "mqtt.listen"}}
	for i, l := range m.Embedded.Listeners {
		l.Key = fmt.Sprintf("mqtt.embedded.listeners[%d].listen", i)
		list = append(list, l)
	}
	return list
}

// Quarantine bounds what is kept of input that could not be understood.
type Quarantine struct {
	MaxSize  Size `yaml:"max_size"`
	MaxCount int  `yaml:"max_count"`
}

// CentralLink is the way to the centre.
type CentralLink struct {
	URL        string         `yaml:"url"`
	Token      secret.Text    `yaml:"token"`       // this depot's credential
	EnrolToken secret.Text    `yaml:"enrol_token"` // used once, to enrol the depot's key
	TLS        tlsfile.Client `yaml:"tls"`
}

// Identity is the depot's own key.
type Identity struct {
	// Adopt makes a depot with a token or certificate enrol a key by itself.
	Adopt bool `yaml:"adopt"`
}

// WeChatLink is where the agent pushes to.
type WeChatLink struct {
	BaseURL     string `yaml:"base_url"`
	FallbackURL string `yaml:"fallback_url"`
}

// Notify is what is pushed and how fast.
type Notify struct {
	Concurrency int               `yaml:"concurrency"` // calls in flight
	Rate        float64           `yaml:"rate"`        // calls a second; 0: the centre's share
	Actions     []scan.ActionType `yaml:"actions"`     // none: push every action_type
	FreshFor    time.Duration     `yaml:"fresh_for"`
	MaxAge      time.Duration     `yaml:"max_age"`
	BindingTTL  BindingTTL        `yaml:"binding_ttl"`
}

// BindingTTL is how long what WeChat said about a phone is believed.
type BindingTTL struct {
	Bound   time.Duration `yaml:"bound"`
	Unbound time.Duration `yaml:"unbound"`
}

// OutboxStore bounds the outbox.
type OutboxStore struct {
	Retain  time.Duration `yaml:"retain"`
	MaxSize Size          `yaml:"max_size"`
}

// Update is what the centre may do with the agent's version.
type Update struct {
	Auto    bool        `yaml:"auto"`     // what it wants is brought and tried
	Window  wait.Window `yaml:"window"`   // in which it is tried
	MaxRate Size        `yaml:"max_rate"` // a second; 0: as fast as it comes
}

// HTTP is the listener for health, metrics and the depot page.
type HTTP struct {
	Listen   string         `yaml:"listen"` // "": off
	TLS      tlsfile.Server `yaml:"tls"`
	Password secret.Text    `yaml:"password"` // "": it only reads, and only for this machine
}

// Log is how the process logs.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// DefaultAgent returns an agent's configuration as an empty file gives it.
// Complete must be called once the depot is known.
func DefaultAgent() *Agent {
	return &Agent{
		DataDir: "/var/lib/scanrelay",
		MQTT: MQTT{
			Broker:   "tcp://127.0.0.1:1883",
			Listen:   "127.0.0.1:1883",
			Embedded: Embedded{MaxPacket: 256 * KiB, MaxClients: 1000},
		},
		WaybillPattern: mapping.DefaultWaybillPattern,
		DedupeWindow:   5 * time.Second,
		Quarantine:     Quarantine{MaxSize: 64 * MiB, MaxCount: 10000},
		Sources:        mapping.DefaultSources(),
		Central:        CentralLink{URL: "http://127.0.0.1:8080"},
		WeChat:         WeChatLink{BaseURL: wechat.DefaultBaseURL},
		Notify: Notify{
			Concurrency: 8, FreshFor: 30 * time.Minute, MaxAge: 24 * time.Hour,
			BindingTTL: BindingTTL{Bound: 24 * time.Hour, Unbound: time.Hour},
		},
		Store:  OutboxStore{Retain: 168 * time.Hour, MaxSize: 2 * GiB},
		Update: Update{Auto: true, MaxRate: 256 * KiB},
		HTTP:   HTTP{Listen: "127.0.0.1:9108"},
		Log:    Log{Level: "info", Format: "auto"},
	}
}

// Complete fills in the defaults that follow from other values.
func (a *Agent) Complete() {
	if a.MQTT.ClientID == "" && a.Depot.ID != "" {
		a.MQTT.ClientID = "scanrelay-" + string(a.Depot.ID)
	}
	if a.WeChat.FallbackURL == "" && a.WeChat.BaseURL == wechat.DefaultBaseURL {
		a.WeChat.FallbackURL = wechat.DefaultFallbackURL
	}
	a.MQTT.Broker = withPort(a.MQTT.Broker)
	for i := range a.MQTT.Brokers {
		a.MQTT.Brokers[i] = withPort(a.MQTT.Brokers[i])
	}
}

// Embedded reports whether the agent runs the broker itself.
func (m MQTT) IsEmbedded() bool { return m.Broker == EmbeddedBroker }
