package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/user"
	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
)

// SocketName is the control socket's name in the data folder; MaxSocketPath is
// how long a socket's path may be on Linux.
const (
	SocketName    = "control.sock"
	MaxSocketPath = 107
)

func (c *checker) agent(a *Agent) {
	c.depotID("depot.id", a.Depot.ID)
	c.dataDir(a.DataDir)
	c.mqtt(a.MQTT)
	c.atLeast("dedupe_window", a.DedupeWindow, 0)
	c.number("quarantine.max_count", a.Quarantine.MaxCount, 1, 10_000_000)
	c.size("quarantine.max_size", a.Quarantine.MaxSize, 64*KiB)
	c.mapping(a)
	_, err := os.Stat(filepath.Join(a.DataDir, "identity", "key"))
	c.centralLink(a.Central, !errors.Is(err, fs.ErrNotExist), a.Identity.Adopt)
	if a.Identity.Adopt && a.Central.Token == "" && a.Central.TLS.CertFile == "" {
		c.bad("identity.adopt", "needs central.token or central.tls.cert_file, on whose strength the key is enrolled")
	}
	c.wechatLink(a.WeChat)
	c.notify(a.Notify)
	c.atLeast("store.retain", a.Store.Retain, 0)
	c.size("store.max_size", a.Store.MaxSize, 4*MiB) // as the store has it
	if a.Update.MaxRate != 0 {
		c.size("update.max_rate", a.Update.MaxRate, KiB)
	}
	c.http(a.HTTP)
	c.log(a.Log)
}

func (c *checker) http(h HTTP) {
	c.token("http.password", h.Password)
	c.serverTLS("http.tls", h.TLS)
	if h.Listen == "" {
		return
	}
	c.listen("http.listen", h.Listen)
	host, _, err := net.SplitHostPort(h.Listen)
	switch {
	case err != nil || secret.ThisMachine(host):
	case h.Password == "":
		c.warn("http.listen", "%s is not this machine alone, and without http.password others get /healthz and /readyz only: give one, made with `openssl rand -hex 12`, or listen on 127.0.0.1", h.Listen)
	case !h.TLS.Enabled():
		c.inClear("http.listen", h.Listen)
	}
}

// depotID reports whether there is an id; it may be a wrong one.
func (c *checker) depotID(key string, id scan.DepotID) bool {
	if !c.required(key, string(id)) {
		return false
	}
	if !id.Valid() {
		c.bad(key, "%q must match %s", id, scan.DepotPattern)
	}
	return true
}

func (c *checker) dataDir(dir string) {
	if !c.required("data_dir", dir) {
		return
	}
	if socket := filepath.Join(dir, SocketName); len(socket) > MaxSocketPath {
		c.bad("data_dir", "is too long: %s would have %d bytes and a socket's path at most %d", socket, len(socket), MaxSocketPath)
	}
}

func (c *checker) size(key string, value, least Size) {
	if value < least {
		c.bad(key, "must be at least %s, not %s", least, value)
	}
}

func (c *checker) mqtt(m MQTT) {
	if m.IsEmbedded() {
		c.embedded(m)
		return
	}
	if c.required("mqtt.broker", m.Broker) {
		c.broker("mqtt.broker", m.Broker)
	}
	for i, b := range m.Brokers {
		c.broker(fmt.Sprintf("mqtt.brokers[%d]", i), b)
	}
	if m.Password != "" && m.Username == "" {
		c.bad("mqtt.password", "needs mqtt.username")
	}
	c.clientTLS("mqtt.tls", m.TLS)
	if m.TLS != (tlsfile.Client{}) && !strings.HasPrefix(m.Broker, "ssl:") && !strings.HasPrefix(m.Broker, "wss:") {
		c.warn("mqtt.tls", "has no effect: only brokers with ssl:// or wss:// speak TLS")
	}
	for _, key := range []string{"mqtt.listen", "mqtt.embedded"} {
		if c.given(key) {
			c.warn(key, "has no effect unless mqtt.broker is %q", EmbeddedBroker)
		}
	}
}

func (c *checker) broker(key, text string) {
	if text == EmbeddedBroker {
		c.bad(key, "%q can only stand alone, as mqtt.broker", text)
		return
	}
	u := c.url(key, text, "tcp", "ssl", "ws", "wss")
	if u != nil && (u.Scheme == "tcp" || u.Scheme == "ssl") && u.Path != "" && u.Path != "/" {
		c.bad(key, "must end after its port: only ws and wss have a path")
	}
}

// withPort adds MQTT's port where a broker's address has none.
func withPort(broker string) string {
	u, err := url.Parse(broker)
	if err != nil || u.Host == "" || u.Port() != "" {
		return broker
	}
	port := map[string]string{"tcp": "1883", "ssl": "8883", "ws": "80", "wss": "443"}[u.Scheme]
	if port == "" {
		return broker
	}
	u.Host = net.JoinHostPort(u.Hostname(), port)
	return u.String()
}

func (c *checker) embedded(m MQTT) {
	for _, l := range m.Listeners() {
		c.listen(l.Key, l.Listen)
		c.serverTLS(l.TLSKey(), l.TLS)
		if host, _, err := net.SplitHostPort(l.Listen); err == nil && len(m.Embedded.Users) == 0 && l.TLS.ClientCAFile == "" && !secret.ThisMachine(host) {
			c.warn(l.Key, "lets everybody who reaches it publish scans; give mqtt.embedded.users")
		}
	}
	for _, key := range []string{"mqtt.brokers", "mqtt.username", "mqtt.password", "mqtt.tls"} {
		if c.given(key) {
			c.warn(key, "has no effect with the embedded broker; mqtt.embedded has its settings")
		}
	}
	c.size("mqtt.embedded.max_packet", m.Embedded.MaxPacket, KiB)
	if m.Embedded.MaxPacket > 256*MiB-1 {
		c.bad("mqtt.embedded.max_packet", "must be less than 256MiB: MQTT has no larger packets")
	}
	c.number("mqtt.embedded.max_clients", m.Embedded.MaxClients, 1, 1_000_000)
	c.number("mqtt.embedded.max_clients_per_address", m.Embedded.MaxClientsPerAddress, 0, m.Embedded.MaxClients)
	if m.Embedded.Rate < 0 {
		c.bad("mqtt.embedded.rate", "must not be negative (0: unlimited)")
	}
	_, problems := user.Compile(m.Embedded.Users)
	for _, p := range problems {
		c.bad(p.Key, "%s", p.Text)
	}
}

func (c *checker) centralLink(l CentralLink, enrolled, adopt bool) {
	if c.required("central.url", l.URL) {
		u := c.url("central.url", l.URL, "http", "https")
		if u != nil && !secret.MayGoTo(u) {
			c.warn("central.url", "sends the token and personal data in clear; use https")
			if l.EnrolToken != "" || adopt {
				c.bad("central.url", "must be https: a depot proves its identity by https only, but on this machine")
			}
		}
	}
	c.token("central.token", l.Token)
	c.token("central.enrol_token", l.EnrolToken)
	if l.Token == "" && l.TLS.CertFile == "" && l.EnrolToken == "" && !enrolled {
		c.warn("central.token", "is empty, as central.enrol_token and central.tls.cert_file, and the depot is not enrolled: scanrelay enrol does that; until then the centre will not let this depot in")
	}
	c.clientTLS("central.tls", l.TLS)
}

func (c *checker) wechatLink(l WeChatLink) {
	if c.required("wechat.base_url", l.BaseURL) {
		c.url("wechat.base_url", l.BaseURL, "https", "http")
	}
	if l.FallbackURL != "" {
		c.url("wechat.fallback_url", l.FallbackURL, "https", "http")
	}
}

func (c *checker) notify(n Notify) {
	c.number("notify.concurrency", n.Concurrency, 1, 1024)
	if n.Rate < 0 {
		c.bad("notify.rate", "must not be negative (0: the share that the centre gives)")
	}
	for i, a := range n.Actions {
		c.action(fmt.Sprintf("notify.actions[%d]", i), a)
	}
	c.atLeast("notify.fresh_for", n.FreshFor, 0)
	c.atLeast("notify.max_age", n.MaxAge, time.Second)
	c.atLeast("notify.binding_ttl.bound", n.BindingTTL.Bound, 0)
	c.atLeast("notify.binding_ttl.unbound", n.BindingTTL.Unbound, 0)
}

func (c *checker) action(key string, a scan.ActionType) {
	if err := a.Check(); err != nil {
		c.bad(key, "%s", err)
	}
}

// mapping says of sources and stations what stands in the way of compiling them.
func (c *checker) mapping(a *Agent) {
	_, problems := mapping.Compile(a.Mapping())
	for _, p := range problems {
		if p.Warning {
			c.warn(p.Key, "%s", p.Text)
		} else {
			c.bad(p.Key, "%s", p.Text)
		}
	}
	for id, s := range a.Stations {
		if key := "stations." + id + ".action_type"; s.ActionType == 0 && c.given(key) {
			c.action(key, 0)
		}
	}
}
