package rig

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scanrelay/wechat/fake"
)

// Secrets of every site. None of them may ever stand in a log.
const (
	Depot      = "hz-01"
	DepotToken = "depot-token-7c1f0e5a9b"
	// OtherToken is the credential of sh-02, a depot without an agent.
	OtherToken = "depot-token-91b3d27f44"
	AdminToken = "admin-token-2d94be6c31"
)

// Options of a site.
type Options struct {
	Binary string
	// Gateway is the program of the agent, and what runs it, where that is another
	// than Binary: that of a gateway under an emulator.
	Gateway  []string
	Embedded bool // the agent is the broker; otherwise a mosquitto stands beside
	WeChat   fake.Options
	// WeChatURL is where something else is that answers in the fake WeChat's place.
	WeChatURL string
	// Agent is YAML that is added to the agent's configuration, Notify what stands
	// between the braces of its notify.
	Agent, Notify string
	// Database is the DSN of central's store; "": files.
	Database string
	// AgentData and CentralData are their folders; "": each one of its own.
	AgentData, CentralData string
	// Env is set for agent and central.
	Env []string
	// AgentClock and CentralClock are files that say by how many seconds a role's
	// wall clock is off; "": by none. The binary must be built for it.
	AgentClock, CentralClock string
	// Disturbed: the test disturbs agent or central.
	Disturbed bool
}

// Site is one depot and one centre with all that is around them.
type Site struct {
	t         T
	WeChat    *WeChat
	Mosquitto *Mosquitto // nil with the embedded broker
	Central   *Role
	Agent     *Role
	Ledger    *Ledger
	Broker    string // where scanners publish

	AgentFile, CentralFile string
	AgentHTTP, CentralHTTP string // host:port
	AgentData, CentralData string

	binary string
	env    []string
	http   *http.Client
	kills  int // of the agent
}

// NewSite makes a site; WeChat is open, nothing else runs yet.
func NewSite(t T, o Options) *Site {
	t.Helper()
	if o.WeChat.Lookup.Timeout == 0 {
		o.WeChat.Lookup.Timeout = 20 * time.Second // a slow machine is no fault of central's
	}
	s := &Site{
		t: t, WeChat: NewWeChat(t, o.WeChat), Ledger: newLedger(), binary: o.Binary, env: o.Env,
		AgentHTTP: FreeAddr(t), CentralHTTP: FreeAddr(t), AgentData: cmp.Or(o.AgentData, t.TempDir()), CentralData: cmp.Or(o.CentralData, t.TempDir()),
		http: &http.Client{Timeout: Limit},
	}
	t.Cleanup(s.checkLeaks) // once the roles have ended, whose ends are registered later
	s.WeChat.SetCallback("http://" + s.CentralHTTP + "/wechat/callback")
	broker := "embedded"
	if o.Embedded {
		s.Broker = FreeAddr(t)
	} else {
		s.Mosquitto = NewMosquitto(t)
		s.Broker = s.Mosquitto.Addr
		broker = "tcp://" + s.Broker
	}
	dir := t.TempDir()
	s.CentralFile = s.write(filepath.Join(dir, "central.yaml"), s.centralYAML(s.CentralData, o))
	s.AgentFile = s.write(filepath.Join(dir, "agent.yaml"), s.agentYAML(broker, o))
	gateway := slices.Clip(o.Gateway)
	if len(gateway) == 0 {
		gateway = []string{o.Binary}
	}
	s.Central = NewRole(t, "central", []string{o.Binary, "central", "-c", s.CentralFile}, o.Env...)
	s.Agent = NewRole(t, "agent", append(gateway, "agent", "-c", s.AgentFile), o.Env...)
	if o.CentralClock != "" {
		s.Central.env = append(slices.Clip(o.Env), clockFile+"="+o.CentralClock)
	}
	if o.AgentClock != "" {
		s.Agent.env = append(slices.Clip(o.Env), clockFile+"="+o.AgentClock)
	}
	if o.Disturbed {
		s.Central.disturbable()
		s.Agent.disturbable()
	}
	return s
}

func (s *Site) write(path, text string) string {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatalf("write configuration: %v", err)
	}
	return path
}

func (s *Site) centralYAML(data string, o Options) string {
	store := "{driver: bbolt}"
	if o.Database != "" {
		store = fmt.Sprintf("{driver: postgres, dsn: %q, key: %q}", o.Database, strings.Repeat("0123456789abcdef", 4))
	}
	return fmt.Sprintf(`listen: %s
data_dir: %s
store: %s
wechat:
  base_url: %s
  rate: 100000
  appid: %s
  secret: %s
  callback: {path: /wechat/callback, token: %s, encoding_aes_key: %s, mode: %s}
depots:
  - {id: %s, token: %s}
  - {id: sh-02, token: %s}
admin_token: %s
log: {level: debug, format: json}
`, s.CentralHTTP, data, store, cmp.Or(o.WeChatURL, s.WeChat.URL()), fake.DefaultAppID, fake.DefaultSecret, fake.DefaultToken,
		fake.DefaultAESKey, cmp.Or(o.WeChat.Mode, fake.Secure), Depot, DepotToken, OtherToken, AdminToken)
}

func (s *Site) agentYAML(broker string, o Options) string {
	return fmt.Sprintf(`depot: {id: %s, name: 杭州转运中心}
data_dir: %s
mqtt:
  broker: %s
  listen: %s
central: {url: "http://%s", token: %s}
wechat: {base_url: %s}
http: {listen: %s}
log: {level: debug, format: json}
notify: {%s}
%s
`, Depot, s.AgentData, broker, s.Broker, s.CentralHTTP, DepotToken, cmp.Or(o.WeChatURL, s.WeChat.URL()), s.AgentHTTP, o.Notify, o.Agent)
}

// Start starts everything and waits until it is ready.
func (s *Site) Start() {
	s.t.Helper()
	if s.Mosquitto != nil {
		s.Mosquitto.Start()
	}
	s.StartCentral()
	s.StartAgent()
}

// StartCentral starts central and waits until it is ready.
func (s *Site) StartCentral() {
	s.t.Helper()
	s.Central.Start()
	s.awaitReady(s.Central, s.CentralHTTP)
}

// StartAgent starts the agent and waits until it takes scans.
func (s *Site) StartAgent() {
	s.t.Helper()
	s.Agent.Start()
	s.awaitReady(s.Agent, s.AgentHTTP)
}

func (s *Site) awaitReady(r *Role, addr string) {
	s.t.Helper()
	Await(s.t, r.Name+" to be ready", func() (bool, string) {
		if !r.running() {
			s.t.Fatalf("%s ended instead of becoming ready: %v\n%s", r.Name, r.ended(), tail(r.Log(), 20))
		}
		status, body, err := s.get("http://" + addr + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		return status == http.StatusOK, fmt.Sprintf("HTTP %d: %.200s", status, body)
	})
}

// KillAgent kills the agent and starts it again at once. From then on its calls
// tell WeChat that they are of its next life.
func (s *Site) KillAgent() {
	s.t.Helper()
	s.Agent.Kill()
	s.kills++
	s.Agent.env = append(slices.Clip(s.env), "SCANRELAY_WECHAT_BASE_URL="+s.WeChat.lifeURL(s.kills))
	s.StartAgent()
}

// Scanner returns a scanner of this site's broker and ledger.
func (s *Site) Scanner(id string) *Scanner {
	return &Scanner{Addr: s.Broker, ID: id, Ledger: s.Ledger}
}
