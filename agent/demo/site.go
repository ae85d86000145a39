package demo

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"scanrelay/agent"
	"scanrelay/configs"
	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink/central"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

//go:embed depot.yaml
var depotYAML []byte

// site is all roles, on free ports of loopback.
type site struct {
	o          Options
	dir        string
	log        *slog.Logger
	parts      *serve.Group
	cable      *cable
	wechat     *fake.Server
	agent      *agent.Agent
	centralURL string // not through the cable
	wechatURL  string // the same
	broker     string
	adminToken string
	depotToken string
}

// grace is how long a server's running requests may take when it is stopped.
const grace = 2 * time.Second

// serve starts an HTTP server on a free port and returns its URL.
func (s *site) serve(name string, h http.Handler) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen for %s: %w", name, err)
	}
	s.parts.Start(name, func(ctx context.Context) error {
		return serve.HTTP(ctx, ln, h, s.log, serve.Few(), grace)
	})
	return "http://" + ln.Addr().String(), nil
}

// start starts the fake WeChat, the centre and the agent, in this order.
func (s *site) start(hooks agent.Hooks, wechatHooks fake.Options) error {
	s.adminToken, s.depotToken = rand.Text(), rand.Text()
	direct, viaCable, err := s.startWeChat(wechatHooks)
	if err != nil {
		return err
	}
	s.wechatURL = direct
	depotCentral, err := s.startCentral(direct)
	if err != nil {
		return err
	}
	s.wechat.SetCallback(s.centralURL + "/wechat/callback")
	return s.startAgent(hooks, depotCentral, viaCable)
}

// startWeChat returns the fake WeChat's URL for the centre and the one for the
// depot.
func (s *site) startWeChat(o fake.Options) (direct, viaCable string, err error) {
	o.Script = s.o.Faults
	if d := s.o.wechatDelay(); d > 0 {
		o.Script.Faults = append(o.Script.Faults[:len(o.Script.Faults):len(o.Script.Faults)], fake.Fault{API: "*", Delay: d})
	}
	if s.wechat, err = fake.New(o); err != nil {
		return "", "", err
	}
	s.parts.Start("fake wechat", func(ctx context.Context) error {
		<-ctx.Done()
		s.wechat.Close()
		return nil
	})
	if direct, err = s.serve("fake wechat for the centre", s.wechat); err != nil {
		return "", "", err
	}
	viaCable, err = s.serve("fake wechat for the depot", s.cable.wrap(s.wechat))
	return direct, viaCable, err
}

// startCentral returns the centre's URL for the depot.
func (s *site) startCentral(wechatURL string) (viaCable string, err error) {
	c, err := s.central(wechatURL, func(o *central.Options) {
		o.Config.Depots = []central.Depot{{ID: "hz-01", Token: secret.Text(s.depotToken)}}
	})
	if err != nil {
		return "", err
	}
	if s.centralURL, err = s.serve("centre", c.Handler()); err != nil {
		return "", err
	}
	return s.serve("centre for the depot", s.cable.wrap(c.Handler()))
}

// central runs a centre with all that any has, and what more adds.
func (s *site) central(wechatURL string, more func(*central.Options)) (*central.Central, error) {
	snap, err := bolt.Open(filepath.Join(s.dir, "central"), bolt.Options{Logger: s.log})
	if err != nil {
		return nil, err
	}
	s.parts.Start("snapshot", func(ctx context.Context) error {
		<-ctx.Done()
		return snap.Close()
	})
	client, err := wechat.NewClient(wechat.Options{BaseURL: wechatURL, Logger: s.log})
	if err != nil {
		return nil, err
	}
	o := central.Options{
		Snapshot: snap, WeChat: client, Version: s.o.Version, Logger: s.log,
		Config: central.Config{
			AppID: fake.DefaultAppID, Secret: fake.DefaultSecret, Rate: 5000, AdminToken: secret.Text(s.adminToken),
			Callback: central.Callback{Token: fake.DefaultToken, EncodingAESKey: fake.DefaultAESKey, Mode: fake.Secure, SwapNames: true, MaxSkew: 10 * time.Minute},
		},
	}
	more(&o)
	c, err := central.New(o)
	if err != nil {
		return nil, err
	}
	s.parts.Start("centre", func(ctx context.Context) error {
		defer client.CloseIdleConnections()
		return c.Run(ctx)
	})
	return c, nil
}

func (s *site) startAgent(hooks agent.Hooks, centralURL, wechatURL string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for mqtt: %w", err)
	}
	s.broker = "tcp://" + ln.Addr().String()
	cfg, err := s.agentConfig(ln.Addr().String(), centralURL, wechatURL)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	s.agent, err = agent.New(cfg, agent.Options{
		Version: s.o.Version, Logger: s.log, Hooks: hooks, Listeners: agent.Listeners{MQTT: []net.Listener{ln}},
	})
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	s.parts.Start("agent", s.agent.Run)
	return nil
}

// diskPerParcel is room enough for a parcel's scans and outcomes.
const diskPerParcel = 16 << 10

func (s *site) agentConfig(mqttAddr, centralURL, wechatURL string) (*configs.Agent, error) {
	cfg, problems := configs.ReadAgent("depot.yaml", depotYAML, []string{
		"SCANRELAY_DATA_DIR=" + filepath.Join(s.dir, "agent"),
		"SCANRELAY_MQTT_LISTEN=" + mqttAddr,
		"SCANRELAY_CENTRAL_URL=" + centralURL,
		"SCANRELAY_CENTRAL_TOKEN=" + s.depotToken,
		"SCANRELAY_WECHAT_BASE_URL=" + wechatURL,
		"SCANRELAY_STORE_MAX_SIZE=" + strconv.Itoa((96 + s.o.Parcels*diskPerParcel>>20)) + "MiB",
	})
	if problems.Failed() {
		return nil, fmt.Errorf("read the demo's depot.yaml: %s", problems.Errors())
	}
	return cfg, nil
}
